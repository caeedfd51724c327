// Which frames go to the decoder: never one whose reference is missing.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Dependency, IN_ORDER_MS, ON_STREAM_PATIENCE_MS, PATIENCE_MS, WAITING_MAX, WISH_INTERVAL_MS, inOrderMs } from '../../web/sdk/media/receive/dependency.js';
import { frame } from './frames.js';

/** @param {Dependency} dependency @param {number} [nowMs] */
function popped(dependency, nowMs = 0) {
  const numbers = [];
  for (let next = dependency.pop(nowMs); next; next = dependency.pop(nowMs)) numbers.push(next.header.frame);
  return numbers;
}

/** One that has decoded a keyframe, number 0. */
function begun() {
  const dependency = new Dependency();
  dependency.push(frame(0));
  assert.deepEqual(popped(dependency), [0]);
  return dependency;
}

const delta = (/** @type {number} */ number, distance = 1, rest = {}, wholeAtMs = 0) => frame(number, { dependsOnDistance: distance, ...rest }, wholeAtMs);

test('nothing comes out before a keyframe, and it is wished for', () => {
  const dependency = new Dependency();
  dependency.push(delta(5));
  assert.deepEqual([popped(dependency), dependency.wishesKeyframe(0)], [[], true]);
  dependency.push(frame(6));
  assert.deepEqual([popped(dependency), dependency.wishesKeyframe(1000)], [[6], false]);
});

test('a frame waits for its reference, and comes out when that has come', () => {
  const dependency = begun();
  dependency.push(delta(2, 1, {}, 10));
  assert.deepEqual(popped(dependency, 10), []);
  dependency.push(delta(1));
  assert.deepEqual(popped(dependency, 9 + PATIENCE_MS), [1, 2]);
  assert.equal(dependency.isBroken, false);
});

test('a frame waits a little for those before it that it does not need, where all are to come', () => {
  const dependency = begun();
  dependency.inOrderMs = 50;
  dependency.push(delta(2, 2, {}, 10));
  assert.deepEqual(popped(dependency, 59), []);
  dependency.push(delta(1, 1, {}, 59));
  assert.deepEqual(popped(dependency, 59), [1, 2]);
  dependency.push(delta(4, 2, {}, 70));
  assert.deepEqual([popped(dependency, 119), popped(dependency, 120)], [[], [4]]);
  dependency.push(delta(3, 1, {}, 121));
  assert.deepEqual([popped(dependency, 121), dependency.leftOut], [[], 1]);
});

test('one that came on a stream waits as long as the publisher\'s path takes to mend a loss; a keyframe waits for none', () => {
  const dependency = begun();
  dependency.inOrderMs = IN_ORDER_MS.least;
  dependency.push(delta(2, 2, { onStream: true }, 0));
  assert.deepEqual([popped(dependency, IN_ORDER_MS.onStream - 1), popped(dependency, IN_ORDER_MS.onStream)], [[], [2]]);
  dependency.push(frame(9, {}, 100));
  assert.deepEqual(popped(dependency, 100), [9]);
});

test('where a mend would come too late, none waits for it', () => {
  assert.deepEqual([5, 80, IN_ORDER_MS.most, IN_ORDER_MS.most + 1, 250].map(inOrderMs), [IN_ORDER_MS.least, 80, IN_ORDER_MS.most, 0, 0]);
});

test('frames that are here and cannot be decoded are waited for by none', () => {
  const dependency = begun();
  dependency.inOrderMs = 80;
  dependency.push(delta(1, 1));
  assert.deepEqual(popped(dependency), [1]);
  dependency.withdraw(1);
  dependency.push(delta(2, 1, { temporalLayer: 2 }, 10));
  dependency.push(delta(3, 3, {}, 20));
  assert.deepEqual(popped(dependency, 20), [3]);
});

test('where frames are left out on purpose, none waits for them', () => {
  const dependency = begun();
  dependency.push(delta(2, 2, {}, 10));
  assert.deepEqual(popped(dependency, 10), [2]);
});

test('who needs a frame that still comes on a stream waits for it, and wishes for no other', () => {
  const dependency = begun();
  dependency.push(delta(2, 1, {}, 10));
  dependency.comesOnStream(10 + PATIENCE_MS / 2, { frame: 1, spatialLayer: 0, keyframe: false });
  assert.deepEqual([popped(dependency, 10 + PATIENCE_MS), dependency.isBroken], [[], false]);
  // Between two parts, a round trip of the publisher's may pass.
  dependency.comesOnStream(9 + ON_STREAM_PATIENCE_MS, { frame: 1, spatialLayer: 0, keyframe: true });
  assert.deepEqual([popped(dependency, 8 + 2 * ON_STREAM_PATIENCE_MS), dependency.isBroken], [[], false]);
  assert.deepEqual([popped(dependency, 9 + 2 * ON_STREAM_PATIENCE_MS), dependency.isBroken], [[], true]);
  assert.equal(dependency.wishesKeyframe(8 + ON_STREAM_PATIENCE_MS + WISH_INTERVAL_MS), false);
  assert.equal(dependency.wishesKeyframe(9 + ON_STREAM_PATIENCE_MS + WISH_INTERVAL_MS), true);
});

test('what overtook a keyframe of a screen is shown behind it, however late that comes by its parts', () => {
  const dependency = begun();
  for (let at = 0; at < 10; at++) {
    dependency.comesOnStream(at * 200, { frame: 1, spatialLayer: 0, keyframe: true });
    dependency.push(delta(2 + at, 1, {}, at * 200));
    assert.deepEqual(popped(dependency, at * 200 + 199), []);
  }
  dependency.push(frame(1, {}, 2000));
  assert.deepEqual([popped(dependency, 2000), dependency.leftOut], [Array.from({ length: 11 }, (_, at) => 1 + at), 0]);
});

test('what comes on a stream after a frame says nothing of what that one needs', () => {
  const dependency = begun();
  const on = { onStream: true };
  // Number 1 never comes.
  for (let number = 2; number < 12; number++) {
    const atMs = number * 33;
    dependency.comesOnStream(atMs, { frame: number, spatialLayer: 0, keyframe: false });
    assert.deepEqual(popped(dependency, atMs), []);
    dependency.push(delta(number, 1, on, atMs + 5));
    assert.equal(dependency.isBroken, atMs >= 2 * 33 + 5 + ON_STREAM_PATIENCE_MS, `${atMs} ms`);
  }
  assert.equal(dependency.isBroken, true);
});

test('a frame of another rendition that still comes is none of those that are needed', () => {
  const dependency = begun();
  dependency.push(delta(2, 1, {}, 10));
  dependency.comesOnStream(10 + PATIENCE_MS / 2, { frame: 1, spatialLayer: 1, keyframe: false });
  assert.deepEqual([popped(dependency, 10 + PATIENCE_MS), dependency.isBroken], [[], true]);
});

test('where too many wait the newest are left out, which none of the others needs', () => {
  const dependency = begun();
  for (let number = 2; number < 12 + WAITING_MAX; number++) dependency.push(delta(number, 1, {}, 10));
  assert.deepEqual([dependency.isBroken, dependency.leftOut], [false, 10]);
  dependency.push(frame(1));
  assert.deepEqual(popped(dependency, 10), Array.from({ length: WAITING_MAX }, (_, at) => 1 + at), 'nor is the keyframe for which they waited');
  dependency.push(delta(12 + WAITING_MAX, 1, {}, 20));
  assert.deepEqual([popped(dependency, 20 + PATIENCE_MS), dependency.isBroken], [[], true], 'what needs those is missing');
});

test('what came on a stream waits longer for its reference, which comes on one too', () => {
  const dependency = begun();
  dependency.push(delta(2, 1, { onStream: true }, 10));
  assert.deepEqual([popped(dependency, 9 + ON_STREAM_PATIENCE_MS), dependency.isBroken], [[], false]);
  dependency.push(delta(1, 1, { onStream: true }, 9 + ON_STREAM_PATIENCE_MS));
  assert.deepEqual(popped(dependency, 9 + ON_STREAM_PATIENCE_MS), [1, 2]);
  dependency.push(delta(4, 1, { onStream: true }, 1000));
  assert.deepEqual([popped(dependency, 1000 + ON_STREAM_PATIENCE_MS), dependency.isBroken], [[], true]);
});

test('a reference that does not come is given up, and a keyframe wished for until one comes', () => {
  const dependency = begun();
  dependency.push(delta(2, 1, {}, 10));
  assert.deepEqual([popped(dependency, 9 + PATIENCE_MS), dependency.isBroken], [[], false]);
  assert.deepEqual([popped(dependency, 10 + PATIENCE_MS), dependency.isBroken], [[], true]);
  const wishes = Array.from({ length: 10 }, (_, at) => 100 + at * 100).filter((nowMs) => dependency.wishesKeyframe(nowMs));
  assert.deepEqual(wishes, [100, 100 + WISH_INTERVAL_MS, 100 + 2 * WISH_INTERVAL_MS, 100 + 3 * WISH_INTERVAL_MS]);
  dependency.push(delta(3, 1, {}, 1000));
  dependency.push(frame(4, {}, 1000));
  assert.deepEqual([popped(dependency, 1000), dependency.wishesKeyframe(9000), dependency.leftOut], [[4], false, 2]);
});

test('upper temporal layers that were left out delay and break nothing', () => {
  const dependency = begun();
  for (const number of [2, 4, 6]) dependency.push(delta(number, 2));
  assert.deepEqual(popped(dependency), [2, 4, 6]);
});

test('a frame of the highest layers whose reference is missing breaks nothing below it', () => {
  const dependency = begun();
  // 1 (layer 2) and 2 (layer 1) are lost; 3 (layer 2) needs 2; 4 (layer 0) needs 0.
  dependency.push(delta(3, 1, { temporalLayer: 2 }));
  assert.deepEqual([popped(dependency, PATIENCE_MS), dependency.isBroken], [[], false]);
  dependency.push(delta(4, 4));
  assert.deepEqual(popped(dependency, PATIENCE_MS), [4]);
});

test('what comes after its turn is passed over', () => {
  const dependency = begun();
  dependency.push(delta(2, 2));
  assert.deepEqual(popped(dependency), [2]);
  dependency.push(delta(1));
  dependency.push(frame(0));
  assert.deepEqual([popped(dependency), dependency.leftOut], [[], 2]);
});

test('the rendition changes at a keyframe of the other one, and not before', () => {
  const dependency = begun();
  const other = { spatialLayer: 1 };
  dependency.push(delta(901, 1, { ...other, timestamp: 3000 }));
  assert.deepEqual([popped(dependency), dependency.isBroken], [[], false]);
  dependency.push(frame(902, { ...other, timestamp: 6000 }));
  dependency.push(delta(903, 1, { ...other, timestamp: 9000 }));
  dependency.push(delta(1, 1, { timestamp: 3000 }));
  assert.deepEqual([popped(dependency), dependency.spatialLayer], [[1, 902, 903], 1]);
});

test('a rendition whose first keyframe was lost is asked for another', () => {
  const dependency = begun();
  dependency.push(delta(901, 1, { spatialLayer: 1, timestamp: 3000 }));
  assert.deepEqual([popped(dependency, PATIENCE_MS), dependency.wishesKeyframe(PATIENCE_MS)], [[], true]);
});

test('a publisher that counts from 0 again is followed from its keyframe on', () => {
  const dependency = new Dependency();
  dependency.push(frame(700));
  dependency.push(frame(0, { timestamp: 701 * 3000 }));
  dependency.push(delta(1, 1, { timestamp: 702 * 3000 }));
  assert.deepEqual(popped(dependency), [700, 0, 1]);
});

test('after a new decoder only a keyframe will do', () => {
  const dependency = begun();
  dependency.push(delta(1));
  dependency.skipToKeyframe();
  dependency.push(delta(2));
  assert.deepEqual([popped(dependency), dependency.isBroken], [[], true]);
  dependency.push(frame(3));
  assert.deepEqual(popped(dependency), [3]);
});

test('a frame that was withdrawn takes those that need it along', () => {
  const dependency = begun();
  dependency.push(delta(1, 1, { temporalLayer: 1 }));
  assert.deepEqual(popped(dependency), [1]);
  dependency.withdraw(1);
  dependency.push(delta(2, 1, { temporalLayer: 2 }));
  dependency.push(delta(3, 3));
  assert.deepEqual(popped(dependency), [3]);
});

test('a wish of somebody else counts', () => {
  const dependency = new Dependency();
  dependency.wished(0);
  assert.deepEqual([dependency.wishesKeyframe(WISH_INTERVAL_MS - 1), dependency.wishesKeyframe(WISH_INTERVAL_MS)], [false, true]);
});

test('timestamps that begin again after 13 hours change nothing', () => {
  const dependency = new Dependency();
  dependency.push(frame(1, { timestamp: 0xffffffff }));
  dependency.push(delta(2, 1, { timestamp: 2999 }));
  assert.deepEqual(popped(dependency), [1, 2]);
});

test('waiting frames are bounded', () => {
  const dependency = begun();
  for (let number = 2; number < 500; number++) dependency.push(delta(number));
  assert.equal(dependency.leftOut, 498 - WAITING_MAX);
});
