/**
 * One's microphone and camera, before the meeting and in it. Before, they are tracks that nobody gets; the room takes them
 * over when one joins. What goes wrong with one of them costs only that one.
 */
import { TertuliaError, createLocalTrack } from '../sdk/tertulia.js';
import { videoLinesOfAddress } from './address.js';
import { choices, choose } from './preferences.js';

/** @typedef {import('../sdk/tertulia.js').Room} Room */
/** @typedef {import('../sdk/tertulia.js').LocalTrack} LocalTrack */
/** @typedef {'microphone' | 'camera'} Device */

/** @type {readonly Device[]} */
export const DEVICES = ['microphone', 'camera'];

export class OwnMedia {
  /** @type {Room | null} */
  #room = null;
  /** Not published yet. @type {Map<Device, LocalTrack>} */
  #tracks = new Map();
  /** What one wants on. @type {Record<Device, boolean>} */
  #wanted = { microphone: false, camera: false };
  /** Counts the wishes, so that a device that comes too late is let go. @type {Record<Device, number>} */
  #wishes = { microphone: 0, camera: 0 };
  /** @type {Set<Device>} */
  #busy = new Set();
  /** Chosen otherwise while they were being opened or published. @type {Set<Device>} */
  #outdated = new Set();
  /** What is wrong with a device. @type {Map<Device, TertuliaError>} */
  problems = new Map();
  /** @type {Set<() => void>} */
  #listeners = new Set();
  #isStarted = false;

  /** @param {() => void} listener is called after each change @returns {() => void} ends it */
  onChange(listener) {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** @param {Device} device @returns {LocalTrack | null} */
  track(device) {
    return this.#room?.localParticipant.tracks.get(device) ?? this.#tracks.get(device) ?? null;
  }

  /** @param {Device} device */
  isOn(device) {
    return this.track(device)?.muted === false;
  }

  /** What is on, to come back with the same after a reload. */
  get on() {
    return { microphone: this.isOn('microphone'), camera: this.isOn('camera') };
  }

  /** @param {Device} device */
  isBusy(device) {
    return this.#busy.has(device);
  }

  /** Switches on what one had on the last time, unless it did already. */
  async start() {
    if (this.#isStarted) return;
    await this.startAgain();
  }

  /** Tries once more what one had on the last time. */
  async startAgain() {
    this.#isStarted = true;
    await askOnce();
    await Promise.all(DEVICES.map((device) => this.set(device, choices[`${device}On`])));
  }

  /** @param {Device} device @param {boolean} on */
  async set(device, on) {
    this.#wanted[device] = on;
    const wish = ++this.#wishes[device];
    this.problems.delete(device);
    // What is opened from here on is opened as it is chosen now. What is there, or on its way, is not.
    if (!this.isBusy(device) && !this.track(device)) this.#outdated.delete(device);
    this.#busy.add(device);
    this.#changed();
    try {
      if (this.#room) await this.#setInRoom(this.#room, device, on);
      else await this.#setBefore(device, on, wish);
    } catch (error) {
      if (wish === this.#wishes[device]) this.failed(device, error);
    } finally {
      if (wish === this.#wishes[device]) this.#busy.delete(device);
      this.#changed();
    }
    if (wish === this.#wishes[device]) await this.#renewOutdated(device);
  }

  /** @param {Device} device @param {unknown} error */
  failed(device, error) {
    this.#wanted[device] = false;
    this.problems.set(device, error instanceof TertuliaError ? error : new TertuliaError('device_failed', 'It does not work. Try another one.', { cause: error }));
    this.#changed();
  }

  /**
   * Takes another device of the same kind. What is off stays off, unless it is off because the one before does not work.
   * Rejects if the other one cannot be had in the meeting: the one before goes on.
   * @param {Device} device @param {string} deviceId
   */
  async use(device, deviceId) {
    const before = choices[device];
    choose({ [device]: deviceId });
    if (!this.#room && this.isBusy(device)) return void this.#outdated.add(device);
    const wasOn = this.isOn(device);
    try {
      await this.#room?.switchActiveDevice(device === 'camera' ? 'videoinput' : 'audioinput', deviceId);
    } catch (error) {
      if (choices[device] === deviceId) choose({ [device]: before });
      throw error;
    }
    if (this.problems.has(device) || (wasOn && !this.#room)) return this.set(device, true);
    this.#changed();
  }

  /** Opens a device anew, in the way that is chosen now; one that is being opened, after that. @param {Device} device */
  async renew(device) {
    const track = this.track(device);
    if (this.isBusy(device) || (!track && this.#wanted[device])) return void this.#outdated.add(device);
    if (!track) return;
    const wasOn = this.isOn(device);
    const wish = this.#wishes[device];
    try {
      await this.#room?.localParticipant.unpublishTrack(track);
    } catch (error) {
      if (wish === this.#wishes[device]) this.failed(device, error);
      return;
    }
    // One may have left meanwhile, or wished something else.
    if (wasOn && wish === this.#wishes[device]) await this.set(device, true);
  }

  /** Publishes in a room what is on, and what one wants on, as far as one may. @param {Room} room */
  async publish(room) {
    for (const device of DEVICES) if (room.permissions?.publish.includes(device) === false) await this.set(device, false);
    if (room.state === 'disconnected') return this.stop();
    this.#room = room;
    const made = [...this.#tracks];
    this.#tracks.clear();
    const without = DEVICES.filter((device) => this.#wanted[device] && !this.isBusy(device) && !made.some(([known]) => known === device));
    await Promise.all([
      ...made.map(([device, track]) => room.localParticipant.publishTrack(track, { source: device }).catch((error) => {
        track.stop();
        this.failed(device, error);
      })),
      ...without.map((device) => this.set(device, true)),
    ]);
    this.#changed();
    await Promise.all(made.map(([device]) => this.#renewOutdated(device)));
  }

  /** One left: no room has them any longer, and what is still being opened is let go. */
  leave() {
    if (this.#room) this.#forget();
    this.#room = null;
    this.#changed();
  }

  /** Lets all devices go, until the next start. */
  stop() {
    this.#forget();
    this.#wanted = { microphone: false, camera: false };
    for (const track of this.#tracks.values()) track.stop();
    this.#tracks.clear();
    this.#changed();
  }

  /** What one wants on once there is a room. @param {Record<Device, boolean>} wanted */
  want(wanted) {
    this.#wanted = { ...wanted };
  }

  /** @param {Device} device @param {boolean} on @param {number} wish */
  async #setBefore(device, on, wish) {
    const before = this.#tracks.get(device);
    this.#tracks.delete(device);
    before?.stop();
    if (!on) return;
    const track = await createLocalTrack({ source: device, ...optionsOf(device) });
    if (wish !== this.#wishes[device]) return track.stop();
    // One joined while the browser was asking.
    if (this.#room) await this.#room.localParticipant.publishTrack(track, { source: device });
    else this.#keep(device, track);
  }

  /** @param {Device} device @param {LocalTrack} track */
  #keep(device, track) {
    this.#tracks.set(device, track);
    track.ended = () => {
      if (this.#tracks.get(device) !== track) return;
      this.#tracks.delete(device);
      track.stop();
      this.failed(device, new TertuliaError('device_lost', `The ${device} is gone. Plug it in again, or choose another one.`));
    };
  }

  /** @param {Device} device */
  async #renewOutdated(device) {
    if (this.#outdated.delete(device)) await this.renew(device);
  }

  /** What is being opened comes too late. */
  #forget() {
    this.#isStarted = false;
    this.#outdated.clear();
    for (const device of DEVICES) this.#wishes[device]++;
    this.#busy.clear();
  }

  /** @param {Room} room @param {Device} device @param {boolean} on */
  async #setInRoom(room, device, on) {
    const { localParticipant } = room;
    if (device === 'camera') await localParticipant.setCameraEnabled(on, optionsOf(device));
    else await localParticipant.setMicrophoneEnabled(on, optionsOf(device));
  }

  #changed() {
    for (const listener of this.#listeners) listener();
  }
}

/** Whether one has chosen how large a picture is sent since the page was opened. */
let isSizeChosen = false;

/** Height of the picture that is sent, in lines: what the address asks for until one chooses, then what was chosen; 0: the SDK's usual one. */
export function pictureLines() {
  return (isSizeChosen ? null : videoLinesOfAddress()) ?? choices.lines;
}

/** @param {number} lines 0: the SDK's usual ones */
export function choosePictureLines(lines) {
  isSizeChosen = true;
  choose({ lines });
}

/** How a device is opened. @param {Device} device */
export function optionsOf(device) {
  const deviceId = choices[device] || undefined;
  if (device === 'camera') return { deviceId, ...sizeOf(pictureLines()) };
  const { noiseSuppression, echoCancellation, autoGainControl } = choices;
  return { deviceId, noiseSuppression, echoCancellation, autoGainControl };
}

/** @param {number} lines */
function sizeOf(lines) {
  return lines > 0 ? { width: Math.round(lines * 16 / 9), height: lines } : {};
}

/** Where the browser would ask twice, once for each device, it is asked for both at once. */
async function askOnce() {
  if (!navigator.mediaDevices || !choices.cameraOn || !choices.microphoneOn) return;
  try {
    const names = /** @type {PermissionName[]} */ (/** @type {string[]} */ (DEVICES));
    const states = await Promise.all(names.map((name) => navigator.permissions.query({ name })));
    if (!states.every(({ state }) => state === 'prompt')) return;
    const stream = await navigator.mediaDevices.getUserMedia({ audio: true, video: true });
    for (const track of stream.getTracks()) track.stop();
  } catch {
    // What is wrong with which device is told when each is opened.
  }
}
