// The loudspeaker: choosing one, and what happens when it is unplugged, with devices that are made up.
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';

const speakers = (/** @type {string[]} */ ...ids) => ids.map((deviceId) => ({ deviceId, groupId: '', kind: 'audiooutput', label: deviceId }));
/** What there is. @type {ReturnType<typeof speakers>} */
let devices = [];
/** Where the sound goes, one after the other. @type {string[]} */
let sinks = [];

class MadeUpContext extends EventTarget {
  state = 'running';
  async setSinkId(/** @type {string} */ id) {
    if (id !== '' && !devices.some(({ deviceId }) => deviceId === id)) throw new Error('no such device');
    sinks.push(id);
  }
}

Object.defineProperty(globalThis, 'navigator', { value: { mediaDevices: { enumerateDevices: async () => devices, addEventListener() {}, removeEventListener() {} } }, configurable: true });
Object.assign(globalThis, { document: new EventTarget(), AudioContext: MadeUpContext, addEventListener() {}, removeEventListener() {} });
const { RoomMedia } = await import('../../web/sdk/room-media.js');

function start() {
  const told = /** @type {{ type: string, value: any }[]} */ ([]);
  const room = { session: () => null, carrierReason: () => null, roundTripMs: () => null, self: () => ({ id: 1 }), ask: async () => ({}), tell() {}, emit: (/** @type {string} */ type, /** @type {any} */ value) => void told.push({ type, value }) };
  const media = new RoomMedia(/** @type {any} */ (room), {});
  /** A device came or went: as the room hears it from what watches them. @type {() => void} */
  let changed = () => {};
  navigator.mediaDevices.addEventListener = /** @type {any} */ ((/** @type {string} */ _, /** @type {() => void} */ listener) => { changed = listener; });
  media.seated(/** @type {any} */ ({ resumed: false, tracks: [] }), 'test', []);
  ended = () => media.closed();
  const settle = () => new Promise((resolve) => setImmediate(resolve));
  return { media, told, change: async (/** @type {ReturnType<typeof speakers>} */ now) => { devices = now; changed(); await settle(); } };
}

/** Ends what a test began. */
let ended = () => {};
afterEach(() => ended());

beforeEach(() => {
  devices = speakers('desk', 'headset');
  sinks = [];
});

test('a speaker is chosen, and one that is not there is refused', async () => {
  const { media } = start();
  await media.switchActiveDevice('audiooutput', 'headset');
  assert.deepEqual([sinks, media.activeDevice('audiooutput')], [['headset'], 'headset']);
  await assert.rejects(media.switchActiveDevice('audiooutput', 'gone'), { code: 'device_missing' });
  assert.equal(media.activeDevice('audiooutput'), 'headset');
});

test('where the chosen speaker is unplugged, the browser chooses, and the room is told once', async () => {
  const { media, told, change } = start();
  await media.switchActiveDevice('audiooutput', 'headset');
  await change(speakers('headset'));
  assert.deepEqual([sinks, told.map(({ type }) => type)], [['headset'], ['devicesChanged']]);
  await change(speakers('desk'));
  await change(speakers());
  assert.deepEqual([sinks, media.activeDevice('audiooutput')], [['headset', ''], null]);
  await change(speakers('desk', 'headset'));
  assert.deepEqual([sinks, media.activeDevice('audiooutput')], [['headset', '', 'headset'], 'headset'], 'it is back');
  const failures = told.filter(({ type }) => type === 'mediaFailed').map(({ value: { source, error } }) => [source, error.code]);
  assert.deepEqual(failures, [['speaker', 'device_lost']]);
});

test('nothing is said after the meeting, and what cannot be listed is no loss', async () => {
  const { media, told, change } = start();
  await media.switchActiveDevice('audiooutput', 'headset');
  const { enumerateDevices } = navigator.mediaDevices;
  navigator.mediaDevices.enumerateDevices = async () => { throw new Error('forbidden'); };
  await change(speakers());
  navigator.mediaDevices.enumerateDevices = enumerateDevices;
  media.closed();
  await change(speakers());
  assert.deepEqual([sinks, told.some(({ type }) => type === 'mediaFailed')], [['headset'], false]);
});

test('who chose none loses none', async () => {
  const { told, change } = start();
  await change(speakers());
  assert.deepEqual([sinks, told.map(({ type }) => type)], [[], ['devicesChanged']]);
});
