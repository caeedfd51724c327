/** Who is in a room, and what they have published. */
import { RemoteTrack } from './media/remote-track.js';

/** @typedef {import('./wire/messages.js').PublishedTrack} PublishedTrack */
/** @typedef {import('./media/devices.js').CaptureOptions} CaptureOptions */
/** @typedef {import('./media/devices.js').TrackSource} TrackSource */
/** @typedef {import('./media/local-track.js').LocalTrack} LocalTrack */
/** @typedef {import('./media/publishing.js').Publishing} Publishing */

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

  /** What is published, by its source. @returns {ReadonlyMap<TrackSource, LocalTrack>} */
  get tracks() {
    return this.#publishing.tracks;
  }

  /**
   * Turns the camera on, or off: then its light goes off, and the others see it muted.
   * @param {boolean} isOn @param {CaptureOptions} [options]
   * @returns {Promise<LocalTrack | null>} rejects with a TertuliaError: `device_denied`, `device_missing`, `device_busy`, `insecure_page`, `not_allowed`, ...
   */
  setCameraEnabled(isOn, options) {
    return this.#publishing.setEnabled('camera', isOn, options);
  }

  /** Turns the microphone on, or off: then nothing is sent, and the device stays open for a quick return. @param {boolean} isOn @param {CaptureOptions} [options] */
  setMicrophoneEnabled(isOn, options) {
    return this.#publishing.setEnabled('microphone', isOn, options);
  }

  /** Asks the person for a screen and shares it, or ends that. Call it while a click is being handled. @param {boolean} isOn @param {CaptureOptions} [options] */
  setScreenShareEnabled(isOn, options) {
    return this.#publishing.setScreenShareEnabled(isOn, options);
  }

  /** Publishes any track that the page has. @param {MediaStreamTrack | LocalTrack} media @param {{ source?: TrackSource } & CaptureOptions} [options] @returns {Promise<LocalTrack>} */
  publishTrack(media, options) {
    return this.#publishing.publishTrack(media, options);
  }

  /** Also stops it. @param {LocalTrack} track */
  async unpublishTrack(track) {
    await this.#publishing.unpublishTrack(track);
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
