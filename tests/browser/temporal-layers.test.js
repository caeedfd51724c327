// How many temporal layers are encoded, with made-up times.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TemporalLayers, UNTAKEN_MS } from '../../web/sdk/media/send/temporal-layers.js';

test('all layers are encoded until the relay says what is taken', () => {
  const layers = new TemporalLayers(3);
  assert.deepEqual([layers.encoded(1e6), layers.part], [3, { frameRate: 1, bitrate: 1 }]);
});

test('a layer that nobody takes for a while is not encoded, and is again as soon as somebody does', () => {
  const layers = new TemporalLayers(3);
  layers.want(1, 1000);
  assert.equal(layers.encoded(1000 + UNTAKEN_MS - 1), 3);
  assert.deepEqual([layers.encoded(1000 + UNTAKEN_MS), layers.part], [2, { frameRate: 1 / 2, bitrate: 0.7 }]);
  layers.want(2, 9000);
  assert.deepEqual([layers.encoded(9000), layers.part], [3, { frameRate: 1, bitrate: 1 }]);
});

test('a layer that is taken now and then goes on', () => {
  const layers = new TemporalLayers(3);
  for (let nowMs = 0; nowMs < 60_000; nowMs += 3000) {
    layers.want(1, nowMs);
    assert.equal(layers.encoded(nowMs + 1999), 3);
    layers.want(2, nowMs + 2000);
    assert.equal(layers.encoded(nowMs + 2999), 3);
  }
});

test('each layer has its own time', () => {
  const layers = new TemporalLayers(3);
  layers.want(1, 0);
  layers.want(0, 4000);
  assert.equal(layers.encoded(UNTAKEN_MS), 2);
  assert.equal(layers.encoded(4000 + UNTAKEN_MS - 1), 2);
  assert.deepEqual([layers.encoded(4000 + UNTAKEN_MS), layers.part], [1, { frameRate: 1 / 4, bitrate: 0.5 }]);
});

test('with one more all come back, for five seconds at least: more may be taken soon, and a change costs a keyframe', () => {
  const layers = new TemporalLayers(3);
  layers.want(0, 0);
  assert.equal(layers.encoded(UNTAKEN_MS), 1);
  layers.want(1, 10_000);
  assert.equal(layers.encoded(10_000), 3);
  assert.equal(layers.encoded(10_000 + UNTAKEN_MS - 1), 3);
  assert.equal(layers.encoded(10_000 + UNTAKEN_MS), 2);
});

test('with as few layers as the browser does not take, nothing is tried', () => {
  const layers = new TemporalLayers(3, 2);
  layers.want(0, 0);
  assert.equal(layers.encoded(2 * UNTAKEN_MS), 2);
});

test('two layers and one', () => {
  const two = new TemporalLayers(2);
  two.want(0, 0);
  assert.deepEqual([two.encoded(UNTAKEN_MS), two.part], [1, { frameRate: 1 / 2, bitrate: 0.6 }]);
  const one = new TemporalLayers(1);
  one.want(7, 0);
  assert.deepEqual([one.encoded(UNTAKEN_MS), one.part], [1, { frameRate: 1, bitrate: 1 }]);
});
