// One's microphone and camera in the page: what is on and what is not, with devices and a room that are made up.
import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { TertuliaError } from '../../web/sdk/error.js';

/** A camera that is open. */
class FakeDevice {
  kind = 'video';
  readyState = 'live';
  onended = /** @type {(() => void) | null} */ (null);
  /** @param {string} deviceId */
  constructor(deviceId) {
    this.deviceId = deviceId;
  }
  getSettings() { return { deviceId: this.deviceId }; }
  stop() { this.readyState = 'ended'; }
  unplug() {
    this.stop();
    this.onended?.();
  }
}

/** @type {FakeDevice[]} */
let opened = [];
let allowed = Promise.resolve();
const getUserMedia = async (/** @type {any} */ { video }) => {
  await allowed;
  const device = new FakeDevice(video.deviceId?.ideal ?? 'usual');
  opened.push(device);
  return { getTracks: () => [device] };
};
Object.defineProperty(globalThis, 'navigator', { configurable: true, value: { userAgent: '', mediaDevices: { getUserMedia } } });
Object.assign(globalThis, {
  location: { search: '', hash: '' },
  MediaStream: class { getTracks() { return []; } addTrack() {} removeTrack() {} },
});
const { OwnMedia } = await import('../../web/page/own-media.js');
const { choices, choose } = await import('../../web/page/preferences.js');

/** A room that does what it is told, and says what that was. */
function roomOf() {
  const told = /** @type {string[]} */ ([]);
  const tracks = new Map();
  return {
    told, state: 'connected', permissions: null,
    switchActiveDevice: async (/** @type {string} */ kind, /** @type {string} */ deviceId) => void told.push(`${kind} ${deviceId}`),
    localParticipant: {
      tracks,
      unpublishTrack: async (/** @type {any} */ track) => void tracks.delete(track.source),
      publishTrack: async (/** @type {any} */ track) => void tracks.set(track.source, track),
      setCameraEnabled: async (/** @type {boolean} */ isOn) => {
        told.push(`camera ${isOn}`);
        tracks.set('camera', { source: 'camera', muted: !isOn, deviceId: 'usual' });
      },
    },
  };
}

const any = (/** @type {unknown} */ value) => /** @type {any} */ (value);

beforeEach(() => {
  opened = [];
  allowed = Promise.resolve();
});

test('choosing another device turns nothing on that is off', async () => {
  const media = new OwnMedia();
  await media.use('camera', 'other');
  assert.deepEqual([media.isOn('camera'), opened.length], [false, 0]);
  const room = roomOf();
  await media.publish(any(room));
  await media.set('camera', false);
  await media.use('camera', 'third');
  assert.deepEqual([room.told, media.isOn('camera')], [['camera false', 'videoinput third'], false]);
});

test('choosing another device tries again what did not work', async () => {
  const media = new OwnMedia();
  const room = roomOf();
  await media.publish(any(room));
  media.failed('camera', new Error('busy'));
  await media.use('camera', 'other');
  assert.deepEqual([room.told, media.isOn('camera')], [['videoinput other', 'camera true'], true]);
});

test('a camera that is allowed after one left is let go', async () => {
  const media = new OwnMedia();
  let allow = () => {};
  allowed = new Promise((resolve) => { allow = () => resolve(undefined); });
  const opening = media.set('camera', true);
  await media.publish(any(roomOf()));
  media.leave();
  allow();
  await opening;
  assert.deepEqual([media.track('camera'), media.isBusy('camera'), opened.map(({ readyState }) => readyState)], [null, false, ['ended']]);
});

test('a room that is over by the time it is published in gets nothing, and the camera is let go', async () => {
  const media = new OwnMedia();
  await media.set('camera', true);
  const room = { ...roomOf(), state: 'disconnected' };
  await media.publish(any(room));
  assert.deepEqual([room.told, room.localParticipant.tracks.size, opened[0].readyState], [[], 0, 'ended']);
});

test('a camera that is unplugged before one joins is off, and says why', async () => {
  const media = new OwnMedia();
  await media.set('camera', true);
  assert.equal(media.isOn('camera'), true);
  opened[0].unplug();
  assert.deepEqual([media.isOn('camera'), media.problems.get('camera')?.code], [false, 'device_lost']);
});

test('who listens no longer hears nothing', async () => {
  const media = new OwnMedia();
  let heard = 0;
  const end = media.onChange(() => heard++);
  await media.set('camera', false);
  const before = heard;
  end();
  await media.set('camera', false);
  assert.deepEqual([before > 0, heard === before], [true, true]);
});

test('a device that cannot be had in the meeting leaves the one before as it was', async () => {
  const media = new OwnMedia();
  const room = roomOf();
  await media.publish(any(room));
  await media.set('camera', true);
  choose({ camera: 'usual' });
  room.switchActiveDevice = () => Promise.reject(new Error('busy'));
  await assert.rejects(media.use('camera', 'other'), /busy/);
  assert.deepEqual([media.isOn('camera'), media.problems.size, choices.camera], [true, 0, 'usual']);
});

test('a device that the relay does not let go is off, and says why', async () => {
  const media = new OwnMedia();
  const room = roomOf();
  await media.publish(any(room));
  await media.set('camera', true);
  room.localParticipant.unpublishTrack = (/** @type {any} */ { source }) => {
    room.localParticipant.tracks.delete(source);
    return Promise.reject(new TertuliaError('too_fast', 'Wait a moment, and try again.'));
  };
  await media.renew('camera');
  assert.deepEqual([media.isOn('camera'), media.problems.get('camera')?.code], [false, 'too_fast']);
});

test('what is chosen while a device is being opened or published is had after that, and once', async () => {
  const media = new OwnMedia();
  const room = roomOf();
  let allow = () => {};
  allowed = new Promise((resolve) => { allow = () => resolve(undefined); });
  const opening = media.set('camera', true);
  await media.renew('camera');
  await media.renew('camera');
  allow();
  await opening;
  assert.deepEqual([opened.length, opened.at(-1)?.readyState, media.isOn('camera')], [2, 'live', true]);

  const publishTrack = room.localParticipant.publishTrack;
  room.localParticipant.publishTrack = async (track) => {
    await media.renew('camera');
    await publishTrack(track);
  };
  await media.publish(any(room));
  assert.deepEqual([room.told, media.isOn('camera')], [['camera true'], true]);
});

test('a device that is let go to be opened in another way stays off where one leaves or switches it off meanwhile', async () => {
  for (const meanwhile of /** @type {((media: InstanceType<typeof OwnMedia>) => unknown)[]} */ ([(media) => media.leave(), (media) => media.set('camera', false)])) {
    const media = new OwnMedia();
    const room = roomOf();
    await media.publish(any(room));
    await media.set('camera', true);
    const { unpublishTrack } = room.localParticipant;
    room.localParticipant.unpublishTrack = async (track) => {
      await unpublishTrack(track);
      await meanwhile(media);
    };
    opened = [];
    await media.renew('camera');
    assert.deepEqual([opened.length, media.isOn('camera')], [0, false]);
  }
});

test('another device that is chosen while one is being opened before the meeting is opened after it', async () => {
  const media = new OwnMedia();
  let allow = () => {};
  allowed = new Promise((resolve) => { allow = () => resolve(undefined); });
  const opening = media.set('camera', true);
  await media.use('camera', 'other');
  allow();
  await opening;
  assert.deepEqual([opened.map(({ deviceId }) => deviceId).at(-1), media.isOn('camera')], ['other', true]);
});
