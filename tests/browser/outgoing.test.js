// What is left out when a WebSocket does not keep up, with a made-up buffer and time.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fragment } from '../../web/sdk/media/send/fragment.js';
import { Outgoing } from '../../web/sdk/media/send/outgoing.js';

/** At this bitrate 150 ms are 18,750 bytes. */
const BITRATE = 1_000_000;
const LIMIT = 18_750;
const base = { track: 1, frame: 0, dependsOnDistance: 0, keyframe: false, temporalLayer: 0, spatialLayer: 0, audioLevel: 127, timestamp: 0 };
const datagrams = fragment(base, new Uint8Array(1));
const delta = { key: 1, kind: /** @type {const} */ ('video'), header: base, datagrams };
const upper = { ...delta, header: { ...base, temporalLayer: 1 } };
const keyframe = { ...delta, header: { ...base, keyframe: true } };
const audio = { key: 2, kind: /** @type {const} */ ('audio'), header: { ...base, keyframe: true }, datagrams };

/** @param {'websocket' | 'webtransport'} [carrier] */
function start(carrier = 'websocket') {
  const state = { buffered: 0, nowMs: 0, sent: 0, discardable: 0, onStream: /** @type {boolean[]} */ ([]), ahead: /** @type {boolean[]} */ ([]), keyframes: /** @type {number[][]} */ ([]), delays: /** @type {number[]} */ ([]) };
  const outgoing = new Outgoing({
    carrier: () => carrier,
    bufferedBytes: () => state.buffered,
    send: (_, { discardable, onStream, goesAhead }) => {
      state.sent++;
      state.onStream.push(onStream);
      state.ahead.push(goesAhead);
      if (discardable) state.discardable++;
    },
    requestKeyframe: (key, layer) => void state.keyframes.push([key, layer]),
    queueing: (delayMs) => void state.delays.push(delayMs),
    now: () => state.nowMs,
  });
  outgoing.bitrate = BITRATE;
  /** @param {import('../../web/sdk/media/send/outgoing.js').Frame} frame @param {number} buffered @returns {boolean} whether it left */
  const send = (frame, buffered) => {
    const before = state.sent;
    state.buffered = buffered;
    outgoing.send(frame);
    return state.sent > before;
  };
  return { outgoing, state, send };
}

test('what travels on a stream is marked, and is not kept to be sent once more', () => {
  for (const [onStream, repeated] of /** @type {const} */ ([[true, 0], [false, 1]])) {
    const { outgoing, send, state } = start('webtransport');
    const header = { ...base, keyframe: true, onStream };
    send({ ...keyframe, header, datagrams: fragment(header, new Uint8Array(1)) }, 0);
    assert.deepEqual(state.onStream, [onStream]);
    outgoing.repeat({ track: 1, spatialLayer: 0, wanted: [{ frame: 0, fragment: 0, following: 0 }] });
    assert.equal(state.sent, 1 + repeated);
  }
});

test('copies that go ahead are marked, and are not kept beside the frame that they are of', () => {
  const { outgoing, send, state } = start('webtransport');
  send({ ...audio, datagrams: fragment({ ...audio.header, frame: 1 }, new Uint8Array(1)) }, 0);
  send({ ...audio, goesAhead: true, datagrams: fragment({ ...audio.header, frame: 0 }, new Uint8Array(1)) }, 0);
  assert.deepEqual(state.ahead, [false, true]);
  outgoing.repeat({ track: 1, spatialLayer: 0, wanted: [{ frame: 0, fragment: 0, following: 0 }, { frame: 1, fragment: 0, following: 0 }] });
  assert.deepEqual(state.ahead, [false, true, false], 'the other one');
});

test('everything leaves while little waits, and upper layers are marked', () => {
  const { send, state } = start();
  for (const frame of [keyframe, delta, upper, audio]) assert.equal(send(frame, LIMIT), true);
  assert.equal(state.discardable, 1);
  assert.deepEqual(state.delays, []);
});

test('beyond 150 ms upper temporal layers stay behind', () => {
  const { send, state } = start();
  assert.deepEqual([upper, delta, keyframe, audio].map((frame) => send(frame, LIMIT + 1)), [false, true, true, true]);
  assert.deepEqual(state.delays, []);
});

test('beyond twice that all video waits for a keyframe, which is asked for when there is room', () => {
  const { send, state } = start();
  assert.deepEqual([delta, keyframe, audio].map((frame) => send(frame, LIMIT * 2 + 1)), [false, false, true]);
  assert.deepEqual(state.keyframes, []);
  assert.equal(send(delta, LIMIT + 1), false);
  assert.deepEqual(state.keyframes, []);
  assert.equal(send(delta, 0), false);
  assert.deepEqual(state.keyframes, [[1, 0]]);
  assert.equal(send(delta, 0), false);
  assert.deepEqual(state.keyframes, [[1, 0]]);
  state.nowMs = 600;
  assert.equal(send(delta, 0), false);
  assert.deepEqual(state.keyframes, [[1, 0], [1, 0]]);
  assert.deepEqual([send(keyframe, 0), send(delta, 0), send(upper, 0)], [true, true, true]);
});

test('one rendition waits, another does not', () => {
  const { send } = start();
  const other = { ...delta, header: { ...base, spatialLayer: 1 } };
  assert.equal(send(delta, LIMIT * 2 + 1), false);
  assert.equal(send(other, LIMIT), true);
  assert.equal(send(delta, LIMIT), false);
});

test('audio goes last', () => {
  const { send } = start();
  assert.equal(send(audio, LIMIT * 4), true);
  assert.equal(send(audio, LIMIT * 4 + 1), false);
});

/** @param {[nowMs: number, buffered: number][]} looks @returns {number[]} the delays that are told */
function told(looks) {
  const { send, state } = start();
  for (const [nowMs, buffered] of looks) {
    state.nowMs = nowMs;
    send(delta, buffered);
  }
  return state.delays;
}

test('a narrow path may be as late as a wide one, not later', () => {
  const { outgoing, send } = start();
  outgoing.bitrate = 200_000;
  assert.deepEqual([upper, delta].map((frame) => send(frame, 3750)), [true, true]);
  assert.deepEqual([upper, delta].map((frame) => send(frame, 3751)), [false, true]);
  assert.equal(send(delta, 7501), false);
});

test('a keyframe is not taken for a queue while it leaves at the bitrate', () => {
  const { outgoing, send, state } = start();
  outgoing.bitrate = 200_000;
  const large = { ...keyframe, datagrams: fragment(keyframe.header, new Uint8Array(20_000)) };
  const bytes = large.datagrams.reduce((sum, { byteLength }) => sum + byteLength, 0);
  assert.equal(send(large, 0), true);
  assert.equal(send(upper, bytes), true);
  // 200 ms later 5,000 bytes should have left, and 3,750 more may wait.
  state.nowMs = 200;
  assert.deepEqual([bytes - 1250, bytes - 1249].map((buffered) => send(upper, buffered)), [true, false]);
  state.nowMs = 2000;
  assert.deepEqual([3750, 3751].map((buffered) => send(upper, buffered)), [true, false]);
});

test('how late everything is, is told once a second', () => {
  assert.deepEqual(told([[0, LIMIT * 2], [10, LIMIT * 3], [900, LIMIT * 4], [1000, LIMIT * 2], [1100, LIMIT * 2], [2000, LIMIT * 2]]), [300, 300]);
});

test('what waits for a moment is no queue', () => {
  assert.deepEqual(told([[0, LIMIT * 2], [500, LIMIT], [1000, LIMIT * 2], [1500, 0], [2000, LIMIT * 2]]), []);
});

test('a carrier that drops by itself gets everything, and another carrier begins anew', () => {
  const quick = start('webtransport');
  assert.deepEqual([delta, upper, audio].map((frame) => quick.send(frame, LIMIT * 10)), [true, true, true]);
  const { outgoing, send } = start();
  send(delta, LIMIT * 3);
  outgoing.reset();
  assert.equal(send(delta, 0), true);
});

test('what the relay did not get leaves once more, on WebTransport and for a while', () => {
  const { outgoing, state, send } = start('webtransport');
  send(delta, 0);
  const request = { track: 1, spatialLayer: 0, wanted: [{ frame: 0, fragment: 0, following: 0 }] };
  const asked = (/** @type {number} */ nowMs) => {
    const before = state.sent;
    state.nowMs = nowMs;
    outgoing.repeat(request);
    return state.sent - before;
  };
  assert.deepEqual([asked(399), asked(400)], [1, 0]);
  send(delta, 0);
  outgoing.reset();
  assert.equal(asked(401), 0, 'another session');
  const { outgoing: other, state: itsState, send: sendThere } = start('websocket');
  sendThere(delta, 0);
  other.repeat(request);
  assert.equal(itsState.sent, 1);
});
