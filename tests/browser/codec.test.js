// Which codec is taken.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BASELINE, chooseCodec, codecString, encoderConfigs, fewestTemporalLayers, isFastEnough, temporalLayers } from '../../web/sdk/media/send/codec.js';

const fast = { encodeMs: [4, 5, 6], heldFrames: 0 };
const slow = { encodeMs: [14, 15, 16], heldFrames: 0 };

/** @param {import('../../web/sdk/media/send/codec.js').VideoCodecChoice} choice @param {number} cores @param {Record<string, import('../../web/sdk/media/send/codec.js').Proof | null>} proofs */
async function choose(choice, cores, proofs) {
  const proved = /** @type {string[]} */ ([]);
  const name = await chooseCodec(choice, { cores, frameRate: 30, prove: async (name) => { proved.push(name); return proofs[name]; } });
  return [name, ...proved];
}

test('how few temporal layers a browser takes is asked of it', async () => {
  const config = { codec: 'vp8', width: 640, height: 360, scalabilityMode: 'L1T3' };
  const fewest = async (/** @type {(string | undefined)[]} */ ...modes) => {
    Object.assign(globalThis, { VideoEncoder: { isConfigSupported: async (/** @type {VideoEncoderConfig} */ { scalabilityMode }) => ({ supported: modes.includes(scalabilityMode) }) } });
    return fewestTemporalLayers(config);
  };
  assert.deepEqual([await fewest('L1T3', 'L1T2', undefined), await fewest('L1T3', 'L1T2'), await fewest('L1T3', undefined)], [1, 2, 3]);
});

test('the baseline needs no proof', async () => {
  assert.deepEqual(await choose('vp8', 16, {}), [BASELINE]);
});

test('a better codec is taken where it proved to be fast', async () => {
  assert.deepEqual(await choose('vp9', 2, { vp9: fast }), ['vp9', 'vp9']);
  assert.deepEqual(await choose('vp9', 2, { vp9: slow }), [BASELINE, 'vp9']);
  assert.deepEqual(await choose('av1', 16, { av1: null }), [BASELINE, 'av1']);
  assert.deepEqual(await choose('auto', 16, { av1: slow, vp9: fast }), ['vp9', 'av1', 'vp9']);
  assert.deepEqual(await choose('auto', 16, { av1: null, vp9: null }), [BASELINE, 'av1', 'vp9']);
});

test('on two cores nothing is tried by itself', async () => {
  assert.deepEqual(await choose('auto', 2, { av1: fast, vp9: fast }), [BASELINE]);
});

test('fast means well below the interval, and nothing held back', () => {
  assert.equal(isFastEnough({ encodeMs: [11, 12], heldFrames: 1 }, 30), true);
  assert.equal(isFastEnough({ encodeMs: [11, 13], heldFrames: 0 }, 30), false);
  assert.equal(isFastEnough({ encodeMs: [1, 1], heldFrames: 5 }, 30), false);
  assert.equal(isFastEnough({ encodeMs: [], heldFrames: 0 }, 30), false);
});

test('codec strings are full ones, with a level that holds the picture', () => {
  const hd = { width: 1280, height: 720 };
  assert.deepEqual([codecString('vp8', hd), codecString('vp9', hd), codecString('av1', hd)], ['vp8', 'vp09.00.31.08', 'av01.0.05M.08']);
  assert.equal(codecString('vp9', { width: 640, height: 360 }), 'vp09.00.21.08');
  assert.equal(codecString('vp9', { width: 7680, height: 4320 }), 'vp09.00.50.08');
});

test('temporal layers and software are tried first, anything at all last', () => {
  const configs = encoderConfigs({ codec: 'vp8', width: 640, height: 360, bitrate: 500_000, frameRate: 30, isScreen: false });
  assert.deepEqual([configs[0].scalabilityMode, configs[0].hardwareAcceleration, configs[0].bitrateMode], ['L1T3', 'prefer-software', 'constant']);
  const last = configs[configs.length - 1];
  assert.deepEqual([last.scalabilityMode, last.hardwareAcceleration, last.latencyMode], [undefined, undefined, 'realtime']);
  assert.deepEqual(configs.map(temporalLayers), [3, 3, 2, 3, 1, 1]);
});
