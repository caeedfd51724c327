// What is missing of a track, when it is asked for, and what was sent lately. As the tests of `src/media/gaps.rs`.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ASKS_MAX, DEADLINE_MS, Gaps, MISSING_MAX } from '../../web/sdk/media/receive/gaps.js';
import { fragment } from '../../web/sdk/media/send/fragment.js';
import { BYTES_MAX, DATAGRAMS_MAX, Recent } from '../../web/sdk/media/send/recent.js';
import { WHOLE_FRAME } from '../../web/sdk/wire.js';
import { header } from './frames.js';

/** @typedef {import('../../web/sdk/wire/media.js').MediaHeader} MediaHeader */

const ROUND_TRIP_MS = 60;

/** A gap detector, with what a test does to it. @param {number} [deadlineMs] */
function start(deadlineMs = DEADLINE_MS.video) {
  const gaps = new Gaps(1, deadlineMs);
  /** @param {number} nowMs @param {number} frame @param {number} fragmentIndex @param {number} [fragmentCount] @param {Partial<MediaHeader>} [rest] @param {boolean} [areAllTaken] */
  const push = (nowMs, frame, fragmentIndex, fragmentCount = 3, rest = { dependsOnDistance: frame > 0 ? 1 : 0 }, areAllTaken = true) =>
    gaps.push(nowMs, { ...header(frame, rest), fragmentIndex, fragmentCount, payload: new Uint8Array(1) }, areAllTaken);
  /** @param {number} nowMs */
  const asked = (nowMs, roundTripMs = ROUND_TRIP_MS) => gaps.due(nowMs, roundTripMs).flatMap(({ wanted }) => wanted);
  return { gaps, push, asked };
}

const one = (/** @type {number} */ frame, /** @type {number} */ fragment) => ({ frame, fragment, following: 0 });

test('what is missing is asked for after a moment, and again after a round trip', () => {
  const { push, asked } = start();
  push(0, 0, 0);
  push(0, 0, 2);
  assert.deepEqual([10, 20, 30, 100].map((nowMs) => [asked(nowMs - 1), asked(nowMs)]), Array(4).fill([[], [one(0, 1)]]));
  assert.equal(push(101, 0, 1), true);
  assert.deepEqual(asked(300), []);
});

test('what only changed places is not asked for', () => {
  const { push, asked } = start();
  push(0, 0, 0);
  push(0, 0, 2);
  assert.deepEqual([push(5, 0, 1), asked(100)], [false, []]);
});

test('the end of a frame is missed when nothing more comes, or the next one begins', () => {
  const alone = start();
  alone.push(0, 0, 0);
  alone.push(0, 0, 1);
  assert.deepEqual([alone.asked(14), alone.asked(15)], [[], [one(0, 2)]]);
  const followed = start();
  for (const [frame, at] of [[0, 0], [0, 1], [1, 0], [1, 1], [1, 2]]) followed.push(0, frame, at);
  assert.deepEqual(followed.asked(10), [one(0, 2)]);
});

test('fragments that come slowly are waited for', () => {
  const { push, asked } = start();
  for (let at = 0; at < 20; at++) push(at * 13, 0, at, 40);
  assert.deepEqual([asked(19 * 13 + 44).length, asked(19 * 13 + 52).length], [0, 2]);
});

test('a frame of which nothing came is asked for as a whole, at once when its time is over', () => {
  const { push, asked } = start();
  for (let at = 0; at < 3; at++) push(0, 0, at);
  for (let at = 0; at < 3; at++) push(66, 2, at);
  assert.deepEqual(asked(66), [one(1, WHOLE_FRAME)]);
  assert.deepEqual([push(130, 1, 0), push(130, 1, 2)], [true, true]);
  assert.deepEqual(asked(136), [one(1, 1)]);
});

test('layers that are left out are not missed unless something needs them', () => {
  const { push, asked } = start();
  for (const [frame, dependsOnDistance] of [[0, 0], [4, 4], [8, 4], [10, 1]]) push(0, frame, 0, 1, { dependsOnDistance }, false);
  assert.deepEqual(asked(10), [one(9, WHOLE_FRAME)]);
});

test('what cannot come in time is given up, and on a short path it is asked for a few times', () => {
  for (const [roundTripMs, expected] of /** @type {const} */ ([[60, [10, 20, 30, 100, 110, 120]], [0, [10, 20, 30, 40, 50, 60, 70, 80, 90]], [191, []]])) {
    const { push, asked } = start(DEADLINE_MS.audio);
    push(0, 0, 0);
    push(0, 0, 2);
    const asks = Array.from({ length: 400 }, (_, nowMs) => nowMs).filter((nowMs) => asked(nowMs, roundTripMs).length > 0);
    assert.deepEqual(asks, expected);
    assert.ok(asks.length <= ASKS_MAX);
  }
});

test('what was asked for in vain is known when it comes all the same', () => {
  const { push, asked } = start();
  push(0, 0, 0);
  push(0, 0, 2);
  for (let nowMs = 0; nowMs < 399; nowMs++) asked(nowMs, 0);
  assert.equal(push(399, 0, 1), true);
});

test('a frame of one datagram is asked for as often', () => {
  const { push, asked } = start();
  push(0, 0, 0, 1);
  push(40, 2, 0, 1);
  assert.deepEqual([40, 49, 50, 60, 129, 130].map((nowMs) => asked(nowMs).length), [1, 0, 1, 1, 0, 1]);
});

test('where much is missing it is asked for once in a round trip', () => {
  for (const [missing, expected] of /** @type {const} */ ([[8, [10, 20, 30, 100, 110, 120, 190, 200, 210]], [9, [10, 80, 150]]])) {
    const { push, asked } = start();
    push(0, 0, 0, missing + 2);
    push(0, 0, missing + 1, missing + 2);
    const asks = Array.from({ length: 240 }, (_, nowMs) => nowMs).filter((nowMs) => asked(nowMs).length > 0);
    assert.deepEqual(asks, expected, `${missing}`);
  }
});

test('nothing is asked for of a frame that comes on a stream', () => {
  const { push, asked } = start();
  const onStream = { onStream: true, dependsOnDistance: 1 };
  for (const fragment of [0, 1, 2]) push(0, 0, fragment);
  push(10, 1, 0, 3, onStream);
  for (const fragment of [0, 1, 2]) push(20, 2, fragment);
  assert.deepEqual(asked(100), [], 'its rest is on its way');
  for (const fragment of [0, 1, 2]) push(110, 4, fragment);
  assert.deepEqual(asked(125), [one(3, WHOLE_FRAME)], 'overtaken before it is known how it comes');
  push(130, 3, 0, 3, onStream);
  assert.deepEqual(asked(300), []);
});

test('what is settled is not asked for', () => {
  const { gaps, push, asked } = start();
  for (const [frame, at] of [[0, 0], [0, 2], [1, 0], [1, 2], [2, 1]]) push(0, frame, at);
  gaps.settle(0, 0);
  gaps.settle(0, 2);
  assert.deepEqual(asked(100), [one(1, 1)]);
  gaps.clear();
  assert.deepEqual(asked(300), []);
});

test('a failure of the path is not repaired, and nothing grows without bound', () => {
  const { push, asked } = start();
  push(0, 0, 0);
  push(0, 1000, 2);
  assert.deepEqual(asked(10), []);
  push(20, 3, 0);
  push(20, 3, 2);
  assert.deepEqual(asked(30), [one(3, 1)], 'it counts from the beginning again');
  const many = start();
  for (let frame = 0; frame < 58; frame++) many.push(0, frame, 99, 100);
  const bits = many.asked(10).reduce((sum, { following }) => sum + 1 + following.toString(2).replaceAll('0', '').length, 0);
  assert.ok(bits <= MISSING_MAX && bits >= 99, `${bits}`);
  const large = start();
  large.push(0, 1, 1999, 2000);
  assert.deepEqual(large.asked(10), []);
});

const { fragmentIndex: _, fragmentCount: __, parity: ___, ...whole } = header(7);
const request = (/** @type {number} */ frame, spatialLayer = 0) => ({ track: 1, spatialLayer, wanted: [one(frame, WHOLE_FRAME)] });

test('what was sent lately is found as it was, each once', () => {
  const recent = new Recent();
  const sent = fragment(whole, new Uint8Array(2500));
  recent.push(0, 'video', [...sent, sent[0].slice()]);
  const found = (/** @type {number} */ nowMs, request_ = request(7)) => recent.find(nowMs, request_).map(({ datagram }) => datagram);
  assert.deepEqual(found(399), sent);
  assert.deepEqual([found(400), found(0, request(8)), found(0, request(7, 1)), found(0, { ...request(7), track: 2 })], [[], [], [], []]);
  recent.push(0, 'audio', fragment({ ...whole, frame: 9 }, new Uint8Array(10)));
  assert.deepEqual([found(199, request(9)).length, found(200, request(9)).length], [1, 0]);
});

test('what is kept is bounded', () => {
  const recent = new Recent();
  const all = { track: 1, spatialLayer: 0, wanted: Array.from({ length: 2000 }, (_, frame) => one(frame, WHOLE_FRAME)) };
  for (let frame = 0; frame < 2000; frame++) recent.push(0, 'video', fragment({ ...whole, frame }, new Uint8Array(10)));
  assert.equal(recent.find(0, all).length, DATAGRAMS_MAX);
  for (let frame = 0; frame < 2000; frame++) recent.push(0, 'video', fragment({ ...whole, frame }, new Uint8Array(980)));
  const bytes = recent.find(0, all).reduce((sum, { datagram }) => sum + datagram.length, 0);
  assert.ok(bytes <= BYTES_MAX && bytes > BYTES_MAX - 1001, `${bytes}`);
});
