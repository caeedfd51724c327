// In which sizes a picture is encoded, which of them, and when frames are let through.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FrameGate } from '../../web/sdk/media/send/frame-gate.js';
import { announcedSize, fit, layersToEncode, renditionCount, renditions } from '../../web/sdk/media/send/renditions.js';

for (const [width, height, count] of [[1920, 1080, 3], [1280, 720, 3], [640, 480, 2], [640, 360, 2], [320, 240, 1], [320, 180, 1], [720, 1280, 3], [2, 2, 1]]) {
  test(`${width}x${height} is worth ${count} sizes`, () => assert.equal(renditionCount({ width, height }), count));
}

test('each rendition has half the sides of the next, and even ones', () => {
  const size = announcedSize({ width: 1283, height: 725 }, 3);
  assert.deepEqual(size, { width: 1280, height: 720 });
  const all = renditions(size, { count: 3, frameRate: 30 });
  assert.deepEqual(all.map(({ width, height }) => [width, height]), [[320, 180], [640, 360], [1280, 720]]);
  assert.deepEqual(all.map(({ layer }) => layer), [0, 1, 2]);
});

test('bitrates are what meetings are used to', () => {
  const bits = renditions({ width: 1280, height: 720 }, { count: 3, frameRate: 30 }).map(({ bitrateMin, bitrateMax }) => [bitrateMin, bitrateMax].map((bitrate) => Math.round(bitrate / 1000)));
  assert.deepEqual(bits, [[36, 194], [111, 588], [335, 1781]]);
});

test('what is wanted is encoded, and before anyone says so the smallest and the largest', () => {
  assert.deepEqual(layersToEncode(3, 0b010), [1]);
  assert.deepEqual(layersToEncode(3, 0b111), [0, 1, 2]);
  assert.deepEqual(layersToEncode(3, 0), []);
  assert.deepEqual(layersToEncode(2, 0b11111100), []);
});

test('a frame keeps its proportions, also when the device was turned, and is not made larger', () => {
  const box = { width: 640, height: 360 };
  assert.deepEqual(fit({ width: 1280, height: 720 }, box), { width: 640, height: 360 });
  assert.deepEqual(fit({ width: 720, height: 1280 }, box), { width: 360, height: 640 });
  assert.deepEqual(fit({ width: 1280, height: 720 }, box, 1 / 2), { width: 320, height: 180 });
  assert.deepEqual(fit({ width: 640, height: 480 }, box), { width: 480, height: 360 });
  assert.deepEqual(fit({ width: 320, height: 180 }, box), { width: 320, height: 180 });
  assert.deepEqual(fit({ width: 3, height: 1 }, box), { width: 4, height: 2 });
});

/** @param {number} deviceRate @param {number} wanted @param {(frame: number) => number} [shift] milliseconds that a frame is off */
function passing(deviceRate, wanted, shift = () => 0) {
  const gate = new FrameGate();
  return Array.from({ length: deviceRate * 2 }, (_, frame) => frame).filter((frame) => gate.passes((frame * 1000) / deviceRate + shift(frame), wanted)).length / 2;
}

test('as many frames pass as are wanted', () => {
  assert.equal(passing(30, 30), 30);
  assert.equal(passing(30, 20), 20);
  assert.equal(passing(30, 15), 15);
  assert.equal(passing(60, 30), 30);
  assert.equal(passing(30, 10), 10);
  assert.equal(passing(15, 30), 15);
  assert.equal(passing(30, 30, (frame) => (frame % 2) * 8), 30);
});
