// In place of the SDK: a room with invented people, so that every screen of the page can be looked at without a relay.
// `window.pretend` says what happens.
import { TertuliaError } from '../../../web/sdk/error.js';
import { Emitter } from '../../../web/sdk/events.js';
import { drawScene, drawScreen } from './scene.js';

export { TertuliaError };
export const newMessageId = () => crypto.randomUUID().replaceAll('-', '');

/** @typedef {'microphone' | 'camera' | 'screen' | 'screenAudio'} Source */

const WIDTH = 640;
const HEIGHT = 360;

/** What tests say before anything else; promises are waited for. @type {any} */
const circumstances = window;

/** Devices that are not there, or not allowed: the code of what is wrong. @type {Map<string, string>} */
const broken = new Map();
let lastId = 0;

class PretendLocalTrack {
  id = ++lastId;
  muted = false;
  level = 0.12;
  mediaStreamTrack = null;
  deviceId = 'default';
  #canvas = document.createElement('canvas');
  #clock;

  /** @param {Source} source */
  constructor(source) {
    this.source = source;
    this.kind = source === 'microphone' ? 'audio' : 'video';
    Object.assign(this.#canvas, { width: WIDTH, height: HEIGHT });
    this.#draw();
    // A stream of a canvas has a picture only when something was drawn since it began.
    this.#clock = setInterval(() => this.#draw(), 100);
  }

  #draw() {
    if (this.source === 'screen') drawScreen(this.#canvas);
    else drawScene(this.#canvas, 'you');
  }

  /** @param {HTMLVideoElement} video */
  attach(video) {
    if (this.kind === 'video') video.srcObject = this.#canvas.captureStream(5);
  }

  /** @param {HTMLVideoElement} video */
  detach(video) {
    video.srcObject = null;
  }

  stop() {
    clearInterval(this.#clock);
  }
}

class PretendRemoteTrack {
  id = ++lastId;
  muted = false;
  level = 0;
  state = 'playing';
  isHeld = false;
  width = WIDTH;
  height = HEIGHT;

  /** @param {Source} source @param {string} name */
  constructor(source, name) {
    this.source = source;
    this.info = { source };
    this.kind = source === 'microphone' ? 'audio' : 'video';
    this.name = name;
  }

  /** @param {HTMLElement} place */
  attach(place) {
    if (this.kind === 'audio') return;
    const canvas = Object.assign(document.createElement('canvas'), { width: WIDTH, height: HEIGHT });
    if (this.source === 'screen') drawScreen(canvas);
    else drawScene(canvas, this.name);
    place.replaceChildren(canvas);
  }

  /** @param {HTMLElement} place */
  detach(place) {
    place.replaceChildren();
  }

  setSubscribed() {}
  setPinned() {}
  setVolume() {}
  stats() {
    return {};
  }
}

/** @param {{ source: Source }} options */
export async function createLocalTrack({ source }) {
  const code = broken.get(source);
  if (code) throw new TertuliaError(code, 'It does not work.');
  await circumstances.permission;
  return new PretendLocalTrack(source);
}

class PretendLocalParticipant {
  id = 1;
  /** @type {Map<string, PretendLocalTrack>} */
  tracks = new Map();
  #room;

  /** @param {Room} room @param {string} name */
  constructor(room, name) {
    this.#room = room;
    this.name = name;
  }

  /** @param {PretendLocalTrack} track */
  async unpublishTrack(track) {
    this.tracks.delete(track.source);
  }

  /** @param {PretendLocalTrack} track */
  async publishTrack(track) {
    this.tracks.set(track.source, track);
    this.#room.tell('localTrackPublished', { track });
    return track;
  }

  setCameraEnabled = (/** @type {boolean} */ on) => this.#set('camera', on);
  setMicrophoneEnabled = (/** @type {boolean} */ on) => this.#set('microphone', on);
  setScreenShareEnabled = async (/** @type {boolean} */ on) => {
    if (on) return this.#set('screen', on);
    const track = this.tracks.get('screen');
    this.tracks.delete('screen');
    this.#room.tell('localTrackUnpublished', { track });
    return null;
  };

  /** @param {Source} source @param {boolean} on */
  async #set(source, on) {
    const known = this.tracks.get(source);
    if (!known) return on ? this.publishTrack(await createLocalTrack({ source })) : null;
    known.muted = !on;
    this.#room.tell('localTrackMuted', { track: known, muted: !on, byAdmin: false });
    return known;
  }
}

/** @extends {Emitter<any>} */
export class Room extends Emitter {
  state = 'disconnected';
  /** @type {string | null} */
  carrier = null;
  /** @type {string | null} */
  carrierReason = null;
  /** @type {number | null} */
  roundTripMs = null;
  /** @type {Record<string, any> | null} */
  permissions = null;
  locked = false;
  isQuiet = false;
  seatMs = 30_000;
  ticket = null;
  /** @type {Map<number, any>} */
  remoteParticipants = new Map();

  /** @param {{ name: string }} options */
  constructor({ name }) {
    super();
    this.localParticipant = new PretendLocalParticipant(this, name);
    this.chat = {
      said: /** @type {any[]} */ ([]),
      messages: () => this.chat.said,
      setTyping() {},
      send: async (/** @type {string} */ text, /** @type {any} */ { messageId, to }) => {
        await this.confirm();
        this.#said(1, this.localParticipant.name, text, messageId, to);
      },
    };
    Object.assign(window, { pretend: new Pretend(this) });
  }

  static getLocalDevices = async () => /** @type {any[]} */ ([
    { kind: 'videoinput', deviceId: 'default', label: 'HD Webcam C920' }, { kind: 'videoinput', deviceId: 'b', label: 'Virtual camera' },
    { kind: 'audioinput', deviceId: 'default', label: 'Built-in microphone' }, { kind: 'audioinput', deviceId: 'h', label: 'Headset' },
    { kind: 'audiooutput', deviceId: 'default', label: 'Built-in loudspeaker' }, { kind: 'audiooutput', deviceId: 'h', label: 'Headset' },
  ]);

  static checkSupport = async () => ({
    webTransport: true, camera: true, encoding: true, decoding: true, screenShare: true, speakerChoice: !circumstances.keepsSpeaker, problems: (await circumstances.unsupported) ?? [],
  });

  async connect() {
    const { refuses } = circumstances;
    this.become('connecting');
    await circumstances.answer;
    if (refuses) {
      this.become('disconnected');
      throw new TertuliaError(refuses.code, refuses.message);
    }
    Object.assign(this, { carrier: 'webtransport', roundTripMs: 24 });
    this.permissions = { publish: ['microphone', 'camera', 'screen', 'screenAudio'], subscribe: true, chat: true, admin: true, hidden: false };
    this.become('connected');
    this.tell('caughtUp', { firstKept: 0 });
  }

  disconnect() {
    this.end('left', 'You left the room.');
  }

  /** @param {string} reason @param {string} message */
  end(reason, message) {
    this.carrier = null;
    this.become('disconnected');
    this.tell('disconnected', { reason, message });
  }

  /** What the relay does with a message. */
  confirm = async () => {};

  async switchActiveDevice() {}
  isHeard = true;
  async startAudio() {
    return this.isHeard;
  }
  async setLocked(/** @type {boolean} */ locked) {
    this.locked = locked;
    this.tell('roomLocked', { locked });
  }
  async muteTrack(/** @type {number} */ id) {
    for (const participant of this.remoteParticipants.values()) {
      const track = participant.tracks.get(id);
      if (!track) continue;
      track.muted = true;
      this.tell('trackMuted', { participant, track });
    }
  }
  async removeParticipant() {}
  async endMeeting() {}

  /** @param {string} state */
  become(state) {
    this.state = state;
    this.tell('stateChanged', state);
  }

  /** @param {string} type @param {any} value */
  tell(type, value) {
    this.emit(type, value);
  }

  /** @param {number} from @param {string} fromName @param {string} text @param {string} messageId @param {number | null} to */
  #said(from, fromName, text, messageId, to) {
    const message = { epoch: 1, sequence: this.chat.said.length + 1, kept: true, protection: location.hash.includes('key=') ? 'encrypted' : 'none', messageId, sentAt: new Date(), from, fromName, to, text, own: from === 1 };
    this.chat.said.push(message);
    this.tell('chatMessage', message);
  }

  /** @param {any} participant @param {string} text */
  said(participant, text) {
    this.#said(participant.id, participant.name, text, newMessageId(), null);
  }
}

/** What happens, by the names of the people. */
class Pretend {
  /** @param {Room} room */
  constructor(room) {
    this.room = room;
  }

  /** @param {string} name @param {{ camera?: boolean, microphone?: boolean }} [sends] */
  join(name, { camera = true, microphone = true } = {}) {
    const tracks = [new PretendRemoteTrack('microphone', name), new PretendRemoteTrack('camera', name)];
    tracks[0].muted = !microphone;
    tracks[1].muted = !camera;
    const participant = { id: ++lastId, name, identity: null, metadata: '', kind: 'meeting', tracks: new Map(tracks.map((track) => [track.id, track])) };
    this.room.remoteParticipants.set(participant.id, participant);
    this.room.tell('participantConnected', participant);
  }

  /** @param {string} name @returns {any} */
  of(name) {
    return [...this.room.remoteParticipants.values()].find((participant) => participant.name === name);
  }

  /** @param {string} name */
  leave(name) {
    const participant = this.of(name);
    this.room.remoteParticipants.delete(participant.id);
    this.room.tell('participantDisconnected', { participant, reason: 'left' });
  }

  /** @param {...string} names */
  speak(...names) {
    this.room.tell('activeSpeakers', { participants: names.map((name) => this.of(name)) });
  }

  /** @param {string} name @param {string} text */
  say(name, text) {
    this.room.said(this.of(name), text);
  }

  /** @param {string} name @param {boolean} active */
  typing(name, active) {
    this.room.tell('chatTyping', { participant: this.of(name), active });
  }

  /** @param {string} name */
  share(name) {
    const participant = this.of(name);
    const track = new PretendRemoteTrack('screen', name);
    participant.tracks.set(track.id, track);
    this.room.tell('trackPublished', { participant, track });
  }

  /** Someone's track is switched off or on. @param {string} name @param {Source} source @param {boolean} muted */
  mute(name, source, muted) {
    const participant = this.of(name);
    const track = [...participant.tracks.values()].find((track) => track.source === source);
    track.muted = muted;
    this.room.tell('trackMuted', { participant, track });
  }

  /** One's own track is switched off. @param {Source} source */
  muteByAdmin(source) {
    const track = this.room.localParticipant.tracks.get(source);
    if (!track) throw new Error(`there is no ${source}`);
    track.muted = true;
    this.room.tell('localTrackMuted', { track, muted: true, byAdmin: true });
  }

  /** The browser plays nothing before a click. */
  blockSound() {
    this.room.isHeard = false;
    this.room.tell('audioBlocked', undefined);
  }

  allowSound() {
    this.room.isHeard = true;
  }

  /** @param {string} name @param {string} state */
  picture(name, state) {
    const participant = this.of(name);
    if (state === 'sealed') return this.room.tell('encryptionFailed', { participant });
    const track = [...participant.tracks.values()].find((track) => track.source === 'camera');
    track.isHeld = state === 'held';
    if (!track.isHeld) track.state = state;
    this.room.tell('trackStateChanged', { participant, track });
  }

  /** One's own device fails. @param {string} source @param {string} code */
  lose(source, code) {
    const track = this.room.localParticipant.tracks.get(source);
    if (track) track.muted = true;
    this.room.tell('mediaFailed', { source, error: new TertuliaError(code, 'It does not work.') });
  }

  /** What someone sends cannot be played. @param {string} name @param {Source} source @param {string} code @param {string} message */
  fail(name, source, code, message) {
    const participant = this.of(name);
    const track = [...participant.tracks.values()].find((track) => track.source === source);
    this.room.tell('mediaFailed', { source, error: new TertuliaError(code, message), participant, track });
  }

  reconnect() {
    this.room.carrier = null;
    this.room.become('reconnecting');
    this.room.tell('reconnecting', { reason: 'connection_lost', message: 'The connection to the relay broke.', attempt: 0 });
  }

  /** Nothing comes from the relay, or something does again. @param {boolean} quiet */
  hush(quiet) {
    this.room.isQuiet = quiet;
    this.room.tell('quietChanged', { quiet });
  }

  /** A try to come back fails. @param {string} reason @param {string} message @param {number} attempt */
  failToReconnect(reason, message, attempt) {
    this.room.tell('reconnecting', { reason, message, attempt });
  }

  /** @param {string} carrier @param {string | null} reason */
  run(carrier, reason) {
    Object.assign(this.room, { carrier, carrierReason: reason });
    this.room.become('connected');
  }

  /** What one writes from now on stays on its way. */
  holdChat() {
    this.room.confirm = () => new Promise(() => {});
  }

  /** What one writes from now on is refused. */
  refuseChat(code = 'too_fast', message = 'That was too much in a short time. Wait a moment, and try again.') {
    this.room.confirm = async () => { throw new TertuliaError(code, message); };
  }

  remove() {
    this.room.end('removed', 'You were removed from the meeting. Ask whoever runs it if you think that this is a mistake.');
  }

  /** Some minutes of statistics at once. @param {number} seconds */
  measure(seconds) {
    for (let at = 0; at < seconds; at++) {
      const wave = Math.sin(at / 9) * Math.cos(at / 23);
      const busy = at > seconds * 0.55 && at < seconds * 0.66 ? 1 : 0;
      const tracks = [...this.room.remoteParticipants.values()].flatMap((participant) => [...participant.tracks.values()].map((/** @type {PretendRemoteTrack} */ track) => ({
        track: track.id, participant: participant.id, source: track.source, codec: track.kind === 'audio' ? 'opus' : 'vp8', width: track.kind === 'audio' ? 0 : WIDTH, height: track.kind === 'audio' ? 0 : HEIGHT,
        frameRate: 29.8, bitrate: track.kind === 'audio' ? 34_000 : 720_000 + wave * 90_000, received: 1000, lost: 1 + busy * 20, bufferedMs: track.kind === 'audio' ? 42 + wave * 14 + busy * 60 : null,
      })));
      this.room.tell('statistics', {
        carrier: this.room.carrier, carrierReason: this.room.carrierReason, roundTripMs: 24 + wave * 5 + busy * 60, lossIn: Math.max(0, 0.001 + wave * 0.001) + busy * 0.03, lossOut: busy * 0.01,
        bitrateIn: 1_600_000 + wave * 240_000 - busy * 700_000, bitrateOut: 820_000 + wave * 60_000, tracks,
      });
    }
  }
}

Object.assign(window, { breakDevice: (/** @type {string} */ source, /** @type {string} */ code) => broken.set(source, code) });
for (const [source, code] of Object.entries(circumstances.brokenDevices ?? {})) broken.set(source, /** @type {string} */ (code));
