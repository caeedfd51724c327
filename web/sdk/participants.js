/** Who is in a room, and what they have published. */
import { RemoteTrack } from './media/receive/remote-track.js';

/** @typedef {import('./media/send/devices.js').CaptureOptions} CaptureOptions */
/** @typedef {import('./media/send/devices.js').TrackSource} TrackSource */
/** @typedef {import('./media/send/local-track.js').LocalTrack} LocalTrack */
/** @typedef {import('./media/send/publishing.js').Publishing} Publishing */
/** @typedef {import('./wire/messages.js').PublishedTrack} PublishedTrack */

/** Oneself. */
export class LocalParticipant {
  #publishing;

  /** @param {string} name @param {Publishing} publishing */
  constructor(name, publishing) {
    this.#publishing = publishing;
    /** Given by the relay; 0 before. The same after the connection broke and came back. */
    this.id = 0;
    /** What the others see: the token's, if it has one. */
    this.name = name;
  }

  /** What one publishes, by source. @returns {ReadonlyMap<TrackSource, LocalTrack>} */
  get tracks() {
    return this.#publishing.tracks;
  }

  /**
   * Turns the camera on or off. Off, its light is off, and the others see that it is muted. Rejects with `device_denied`,
   * `device_missing`, `device_busy`, `insecure_page` or `codec_unsupported`.
   * @param {boolean} isOn @param {CaptureOptions} [options]
   * @returns {Promise<LocalTrack | null>} `null`: there is none
   */
  setCameraEnabled(isOn, options) {
    return this.#publishing.setEnabled('camera', isOn, options);
  }

  /**
   * Turns the microphone on or off. Off, nothing is sent, but the device is kept for a quick return. Rejects as the camera does.
   * @param {boolean} isOn @param {CaptureOptions} [options]
   * @returns {Promise<LocalTrack | null>} `null`: there is none
   */
  setMicrophoneEnabled(isOn, options) {
    return this.#publishing.setEnabled('microphone', isOn, options);
  }

  /**
   * Lets the person choose a screen, window or tab and shares it with its sound, or ends that. Rejects with `screen_cancelled` if
   * nothing was chosen.
   * @param {boolean} isOn @param {CaptureOptions} [options]
   * @returns {Promise<LocalTrack | null>} its picture; `null`: there is none
   */
  setScreenShareEnabled(isOn, options) {
    return this.#publishing.setScreenShareEnabled(isOn, options);
  }

  /** Publishes what the program has, or what `createLocalTrack` gave. @param {MediaStreamTrack | LocalTrack} track @param {{ source?: TrackSource } & CaptureOptions} [options] */
  publishTrack(track, options) {
    return this.#publishing.publishTrack(track, options);
  }

  /** Also lets its device go. @param {LocalTrack} track */
  unpublishTrack(track) {
    return this.#publishing.unpublishTrack(track);
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
    this.tracks = new Map(tracks.map((published) => [published.track, new RemoteTrack(published)]));
  }
}
