/** Who is in a room, and what they have published. */
import { TertuliaError } from './error.js';

/** @typedef {import('./media/devices.js').CaptureOptions} CaptureOptions */
/** @typedef {import('./media/devices.js').TrackSource} TrackSource */
/** @typedef {import('./media/local-track.js').LocalTrack} LocalTrack */
/** @typedef {import('./media/publishing.js').Publishing} Publishing */
/** @typedef {import('./wire/messages.js').PublishedTrack} PublishedTrack */
/** @typedef {import('./wire/messages.js').TrackInfo} TrackInfo */
/** @typedef {{ id: number, info: TrackInfo, muted: boolean }} RemoteTrack */

/** Oneself. */
export class LocalParticipant {
  #publishing;

  /** @param {string} name @param {Publishing | null} [publishing] `null`: no media, only chat */
  constructor(name, publishing = null) {
    this.#publishing = publishing;
    /** Given by the relay; 0 before. The same after the connection broke and came back. */
    this.id = 0;
    /** What the others see: the token's, if it has one. */
    this.name = name;
  }

  /** What one publishes, by source. @returns {ReadonlyMap<TrackSource, LocalTrack>} */
  get tracks() {
    return this.#publishing?.tracks ?? new Map();
  }

  /**
   * Turns the camera on or off. Off, its light is off, and the others see that it is muted. Rejects with `device_denied`,
   * `device_missing`, `device_busy`, `insecure_page` or `codec_unsupported`.
   * @param {boolean} isOn @param {CaptureOptions} [options]
   * @returns {Promise<LocalTrack | null>} `null`: there is none
   */
  setCameraEnabled(isOn, options) {
    return this.#media().setEnabled('camera', isOn, options);
  }

  /**
   * Turns the microphone on or off. Off, nothing is sent, but the device is kept for a quick return. Rejects as the camera does.
   * @param {boolean} isOn @param {CaptureOptions} [options]
   * @returns {Promise<LocalTrack | null>} `null`: there is none
   */
  setMicrophoneEnabled(isOn, options) {
    return this.#media().setEnabled('microphone', isOn, options);
  }

  /**
   * Lets the person choose a screen, window or tab and shares it with its sound, or ends that. Rejects with `screen_cancelled` if
   * nothing was chosen.
   * @param {boolean} isOn @param {CaptureOptions} [options]
   * @returns {Promise<LocalTrack | null>} its picture; `null`: there is none
   */
  setScreenShareEnabled(isOn, options) {
    return this.#media().setScreenShareEnabled(isOn, options);
  }

  /** Publishes what the program has, or what `createLocalTrack` gave. @param {MediaStreamTrack | LocalTrack} track @param {{ source?: TrackSource } & CaptureOptions} [options] */
  publishTrack(track, options) {
    return this.#media().publishTrack(track, options);
  }

  /** Also lets its device go. @param {LocalTrack} track */
  unpublishTrack(track) {
    return this.#media().unpublishTrack(track);
  }

  #media() {
    if (!this.#publishing) throw new TertuliaError('media_unavailable', 'There is no media here. Open the meeting in a browser.');
    return this.#publishing;
  }
}

/** Someone else. */
export class RemoteParticipant {
  /** @param {{ participant: number, name: string, identity: string | null, metadata: string, kind: 'meeting' | 'plain', tracks: PublishedTrack[] }} info */
  constructor({ participant, name, identity, metadata, kind, tracks }) {
    this.id = participant;
    this.name = name;
    /** Who they are, as their token says; `null` in a relay without keys. */
    this.identity = identity;
    /** What their token says for the application. */
    this.metadata = metadata;
    /** `plain`: a WebSocket client that takes part in the chat alone. */
    this.kind = kind;
    /** @type {Map<number, RemoteTrack>} */
    this.tracks = new Map(tracks.map((track) => [track.track, remoteTrack(track)]));
  }
}

/** @param {PublishedTrack} published @returns {RemoteTrack} */
export function remoteTrack({ track, info, muted }) {
  return { id: track, info, muted };
}
