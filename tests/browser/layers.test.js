// Which rendition and temporal layers a tile takes.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BAD_SECONDS, GOOD_SECONDS, GOOD_SECONDS_MAX, LATE_MAX, LayerChoice } from '../../web/sdk/media/receive/layers.js';

/** @typedef {import('../../web/sdk/media/receive/layers.js').Second} Second */

const VIDEO = { width: 1280, height: 720, spatialLayers: 3, temporalLayers: 3 };
const GOOD = { received: 100, lost: 0, late: 0, isSilent: false };
const LOSSY = { ...GOOD, lost: 20 };
const UNLUCKY = { ...GOOD, received: 20, lost: 4 };

/** @param {LayerChoice} choice */
const inWords = ({ layers: { spatialLayer, temporalLayer } }) => `S${spatialLayer}T${temporalLayer}`;

/** @param {LayerChoice} choice @param {Second} second @param {number} count */
function pass(choice, second, count) {
  for (let at = 0; at < count; at++) choice.second(second);
  return inWords(choice);
}

/** @param {number} height */
const tile = (height) => ({ width: Math.round((height * 16) / 9), height });

test('a tile takes the smallest rendition that looks sharp in it', () => {
  const cases = /** @type {[number, string][]} */ ([[90, 'S0T1'], [180, 'S0T2'], [225, 'S0T2'], [260, 'S1T2'], [360, 'S1T2'], [450, 'S1T2'], [500, 'S2T2'], [2000, 'S2T2']]);
  for (const [height, expected] of cases) {
    const choice = new LayerChoice(VIDEO);
    choice.tiles([tile(50)]);
    choice.tiles([tile(height)]);
    assert.equal(inWords(choice), expected, `${height}`);
  }
});

test('before a tile is known the largest is taken, and one layer is always layer 0', () => {
  assert.equal(inWords(new LayerChoice(VIDEO)), 'S2T2');
  const single = new LayerChoice({ ...VIDEO, spatialLayers: 1, temporalLayers: 1 });
  single.tiles([tile(50)]);
  assert.equal(pass(single, LOSSY, 20), 'S0T0');
  assert.equal(inWords(new LayerChoice({ ...VIDEO, spatialLayers: 0, temporalLayers: 0 })), 'S0T0');
});

test('a tile that wavers changes nothing', () => {
  const choice = new LayerChoice(VIDEO);
  choice.tiles([tile(460)]);
  for (const height of [440, 455, 430, 460]) {
    choice.tiles([tile(height)]);
    assert.equal(inWords(choice), 'S2T2', `${height}`);
  }
  choice.tiles([tile(380)]);
  assert.equal(inWords(choice), 'S1T2');
  choice.tiles([tile(440)]);
  assert.equal(inWords(choice), 'S1T2');
});

test('a wide tile is measured by the side that limits the picture', () => {
  const choice = new LayerChoice(VIDEO);
  choice.tiles([{ width: 2000, height: 180 }]);
  assert.equal(inWords(choice), 'S0T2');
});

test('one that the picture covers, by the side that needs more', () => {
  const sizes = [{ width: 2000, height: 180 }, { width: 320, height: 500 }, { width: 640, height: 180 }, { width: 320, height: 180 }];
  const chosen = sizes.map((size) => {
    const choice = new LayerChoice(VIDEO);
    choice.tiles([{ ...size, isFilled: true }]);
    return inWords(choice);
  });
  assert.deepEqual(chosen, ['S2T2', 'S2T2', 'S1T2', 'S0T2']);
});

test('pictures that are turned are measured as they are turned', () => {
  const chosen = [false, true].map((isTurned) => {
    const choice = new LayerChoice(VIDEO);
    choice.tiles([{ width: 360, height: 480, isFilled: true }], isTurned);
    return inWords(choice);
  });
  assert.deepEqual(chosen, ['S2T2', 'S1T2']);
});

test('where it is shown twice, the tile that needs more decides', () => {
  const choice = new LayerChoice(VIDEO);
  choice.tiles([{ width: 2000, height: 180 }, { width: 380, height: 380, isFilled: true }, { width: 90, height: 50 }]);
  assert.equal(inWords(choice), 'S1T2');
});

test('bad seconds take temporal layers first, then renditions, one step each', () => {
  for (const bad of [LOSSY, { ...GOOD, late: LATE_MAX + 1 }, { ...GOOD, received: 0, isSilent: true }]) {
    const choice = new LayerChoice(VIDEO);
    assert.equal(pass(choice, bad, BAD_SECONDS - 1), 'S2T2');
    const steps = [1, 2, 3, 4, 5, 6].map((step) => pass(choice, bad, step === 1 ? 1 : BAD_SECONDS));
    assert.deepEqual(steps, ['S2T1', 'S2T0', 'S1T0', 'S0T0', 'S0T0', 'S0T0']);
  }
});

test('bad luck where few datagrams come changes nothing, and single bad seconds neither', () => {
  const choice = new LayerChoice(VIDEO);
  assert.equal(pass(choice, UNLUCKY, 10), 'S2T2');
  for (let at = 0; at < 50; at++) pass(choice, at % 2 ? LOSSY : GOOD, 1);
  assert.equal(inWords(choice), 'S2T2');
});

test('good seconds bring the layers back in steps', () => {
  const choice = new LayerChoice(VIDEO);
  pass(choice, LOSSY, 3 * BAD_SECONDS);
  const steps = [1, 2, 3, 4].map(() => pass(choice, GOOD, GOOD_SECONDS));
  assert.deepEqual(steps, ['S2T0', 'S2T1', 'S2T2', 'S2T2']);
});

test('seconds in which nothing is sent are neither good nor bad', () => {
  const choice = new LayerChoice(VIDEO);
  pass(choice, LOSSY, BAD_SECONDS);
  assert.equal(pass(choice, { ...GOOD, received: 0 }, 100), 'S2T1');
});

test('a step up that does not last is tried more and more seldom', () => {
  const choice = new LayerChoice(VIDEO);
  pass(choice, LOSSY, BAD_SECONDS);
  const needed = [];
  for (let round = 0; round < 6; round++) {
    let seconds = 0;
    while (inWords(choice) === 'S2T1') seconds = (choice.second(GOOD), seconds + 1);
    needed.push(seconds);
    pass(choice, LOSSY, BAD_SECONDS);
  }
  assert.deepEqual(needed, [8, 16, 32, 64, 64, GOOD_SECONDS_MAX]);
});
