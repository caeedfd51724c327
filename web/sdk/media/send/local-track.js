/** What one publishes, or looks at before one does. */
import { TertuliaError } from '../../error.js';
import { AudioCapture } from './audio-capture.js';
import { openDevice, openScreen } from './devices.js';

/** @typedef {import('./devices.js').CaptureOptions} CaptureOptions */
/** @typedef {import('./devices.js').TrackSource} TrackSource */

export class LocalTrack {
  #options;
  #media;
  /** What elements show: it stays when the device is another one. */
  #shown = new MediaStream();
  /** @type {AudioCapture | null} */
  #audio = null;
  /** Where the frames of the microphone go. @type {(() => MessagePort) | null} */
  #audioSink = null;
  /** Given by the relay; 0 before it is published. */
  id = 0;
  /** Whether it is a device that was opened here: what a program has given is its own affair. */
  isOwnDevice = false;
  /** Whether nothing is sent, and others see that. */
  muted = false;
  /** The device stopped by itself. Set by who publishes it. */
  ended = () => {};
  /** There is another device behind it. Set by who publishes it. */
  changed = () => {};

  /** Use {@link createLocalTrack}. @param {TrackSource} source @param {MediaStreamTrack} media @param {CaptureOptions} options */
  constructor(source, media, options) {
    /** @readonly */
    this.source = source;
    /** @readonly @type {'audio' | 'video'} */
    this.kind = media.kind === 'audio' ? 'audio' : 'video';
    this.#options = options;
    this.#media = media;
    this.#take(media);
  }

  get mediaStreamTrack() {
    return this.#media;
  }

  /** How it was asked for. */
  get options() {
    return this.#options;
  }

  /** Of the device behind it; empty if there is none, as with a screen. */
  get deviceId() {
    return this.#media.getSettings().deviceId ?? '';
  }

  /** How loud it is, 0 to 1, muted or not. 0 for video. */
  get level() {
    return this.#audio?.level ?? 0;
  }

  /** One channel, or two of music. */
  get channels() {
    return this.source === 'screenAudio' || this.#options.music ? 2 : 1;
  }

  /** Whether the device has stopped: it has to be opened again before anything comes. */
  get isStopped() {
    return this.#media.readyState === 'ended';
  }

  /** Shows it, mirrored or not as the page likes. @param {HTMLVideoElement} element */
  attach(element) {
    if (!('srcObject' in element)) throw new TertuliaError('element_unsuitable', 'One\'s own track is shown by a <video> element. Give one to attach.');
    element.muted = true;
    element.playsInline = true;
    element.srcObject = this.#shown;
    void element.play().catch(() => {});
  }

  /** @param {HTMLVideoElement} element */
  detach(element) {
    if (element.srcObject === this.#shown) element.srcObject = null;
  }

  /** Lets the device go: its light is off. */
  stop() {
    this.#media.onended = null;
    this.#media.stop();
    this.#audio?.stop();
    this.#audio = null;
  }

  /** Opens the device again, or another one. Rejects if it gives nothing: the one before goes on. @param {string} [deviceId] this one or none */
  async reopen(deviceId) {
    if (this.source !== 'camera' && this.source !== 'microphone') {
      throw new TertuliaError('device_fixed', 'What is shared cannot be exchanged. Stop it, and share again.');
    }
    const options = deviceId === undefined ? this.#options : { ...this.#options, deviceId };
    const media = await openDevice(this.source, options, { isExact: deviceId !== undefined });
    const audio = await this.#capture(media);
    this.stop();
    this.#options = options;
    this.#media = media;
    this.#take(media);
    this.#hear(audio);
    this.changed();
  }

  /** Begins to measure the level, and to give frames if someone takes them. Audio only. */
  async listen() {
    const media = this.#media;
    const audio = await this.#capture(media);
    if (media === this.#media && !this.isStopped) this.#hear(audio);
    else audio?.stop();
  }

  /** Sends the frames of audio to ports that `sink` gives, one for each device. @param {() => MessagePort} sink */
  sendTo(sink) {
    this.#audioSink = sink;
    this.#audio?.sendTo(sink());
  }

  /** Its sound, which lets the device go where it cannot be read. @param {MediaStreamTrack} media @returns {Promise<AudioCapture | null>} `null` for video */
  async #capture(media) {
    if (this.kind !== 'audio') return null;
    try {
      return await AudioCapture.open(media, this.channels);
    } catch (error) {
      media.stop();
      throw error;
    }
  }

  /** @param {AudioCapture | null} audio */
  #hear(audio) {
    this.#audio?.stop();
    this.#audio = audio;
    if (audio && this.#audioSink) audio.sendTo(this.#audioSink());
  }

  /** @param {MediaStreamTrack} media */
  #take(media) {
    for (const old of this.#shown.getTracks()) this.#shown.removeTrack(old);
    this.#shown.addTrack(media);
    media.onended = () => this.ended();
  }
}

/**
 * Opens a device, published or not: a page can show it before someone joins. `publishTrack` takes it over.
 * @param {{ source: 'camera' | 'microphone' } & CaptureOptions} options
 */
export async function createLocalTrack({ source, ...options }) {
  const track = await makeLocalTrack(source, await openDevice(source, options), options);
  track.isOwnDevice = true;
  return track;
}

/** Lets the person choose a screen. @param {CaptureOptions} options @returns {Promise<LocalTrack[]>} its picture, and its sound if there is any */
export async function createScreenTracks(options) {
  const tracks = await openScreen(options);
  try {
    return await Promise.all(tracks.map((media, at) => makeLocalTrack(at === 0 ? 'screen' : 'screenAudio', media, options)));
  } catch (error) {
    for (const media of tracks) media.stop();
    throw error;
  }
}

/** @param {TrackSource} source @param {MediaStreamTrack} media @param {CaptureOptions} [options] */
export async function makeLocalTrack(source, media, options = {}) {
  const track = new LocalTrack(source, media, options);
  try {
    await track.listen();
    return track;
  } catch (error) {
    track.stop();
    throw error;
  }
}
