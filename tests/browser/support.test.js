// What a browser can do, and what is said of what it cannot: a browser that is made up.
import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { checkSupport } from '../../web/sdk/support.js';

const CODERS = /** @type {const} */ (['VideoEncoder', 'AudioEncoder', 'VideoDecoder', 'AudioDecoder']);
const getUserMedia = () => {};

/** A browser with all that a meeting needs, but for what is said. @param {{ lacks?: string, isSecure?: boolean, devices?: object }} [browser] `lacks`: of its coders, one that does not know the codec */
function be({ lacks, isSecure = true, devices = { getUserMedia } } = {}) {
  for (const name of CODERS) Object.assign(globalThis, { [name]: { isConfigSupported: async () => ({ supported: name !== lacks }) } });
  Object.assign(globalThis, { isSecureContext: isSecure });
  Object.defineProperty(globalThis, 'navigator', { configurable: true, value: { mediaDevices: devices } });
}

afterEach(() => {
  for (const name of [...CODERS, 'isSecureContext', 'WebTransport']) Reflect.deleteProperty(globalThis, name);
});

/** What is wrong, by code, with the part of the sentence that differs. */
const problems = async () => (await checkSupport()).problems.map(({ code, message }) => [code, /cannot (play|send)/.exec(message)?.[1] ?? null]);

test('a browser that has everything has no problems', async () => {
  be({ devices: { getUserMedia, getDisplayMedia() {} } });
  Object.assign(globalThis, { WebTransport: class {} });
  assert.deepEqual(await checkSupport(), { webTransport: true, devices: true, encoding: true, decoding: true, screenShare: true, speakerChoice: false, problems: [] });
});

test('without WebTransport or a screen to share, one takes part all the same', async () => {
  be();
  const { webTransport, screenShare } = await checkSupport();
  assert.deepEqual([webTransport, screenShare, await problems()], [false, false, []]);
});

for (const [lacks, act] of [['VideoEncoder', 'send'], ['AudioEncoder', 'send'], ['VideoDecoder', 'play'], ['AudioDecoder', 'play']]) {
  test(`without a ${lacks} it cannot ${act}`, async () => {
    be({ lacks });
    assert.deepEqual(await problems(), [['codec_unsupported', act]]);
  });
}

test('a coder that fails when it is asked, or is not there, is none', async () => {
  be();
  Object.assign(globalThis, { VideoDecoder: { isConfigSupported: () => Promise.reject(new TypeError()) } });
  assert.deepEqual(await problems(), [['codec_unsupported', 'play']]);
  Reflect.deleteProperty(globalThis, 'VideoDecoder');
  assert.deepEqual(await problems(), [['codec_unsupported', 'play']]);
});

test('a page that is not secure is told that alone', async () => {
  be({ isSecure: false, devices: {}, lacks: 'VideoDecoder' });
  assert.deepEqual(await problems(), [['insecure_page', null]]);
});

test('a browser without devices says so', async () => {
  be({ devices: {} });
  assert.deepEqual(await problems(), [['device_missing', null]]);
});
