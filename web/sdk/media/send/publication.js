/** One track on its way to the room: what was announced of it, and what feeds its encoder. */
import { TertuliaError } from '../../error.js';
import { OPUS_SAMPLE_RATE } from '../audio-format.js';
import { describeColour } from '../colour.js';
import { temporalLayers } from './codec.js';
import { deliveries } from './delivery.js';
import { CAMERA, SCREEN_FRAME_RATE } from './devices.js';
import { announcedSize, renditionCount, renditions } from './renditions.js';
import { captureVideo } from './video-capture.js';

/** @typedef {import('./encoding.js').Encoding} Encoding */
/** @typedef {import('./encoding.js').Wish} Wish */
/** @typedef {import('./local-track.js').LocalTrack} LocalTrack */
/** @typedef {import('./video-encoding.js').VideoPlan} VideoPlan */
/** @typedef {import('../../wire/messages.js').TrackInfo} TrackInfo */

/** Bits per second: speech in one channel, everything else in two. */
const AUDIO_BITRATE = Object.freeze({ speech: 32_000, music: 96_000 });

/** A camera that has given nothing for so long hangs, in seconds: slow ones take two or three. */
export const FIRST_FRAME_SECONDS_MAX = 5;

export class Publication {
  #encoding;
  #endCapture = () => {};
  /** For how long nothing has come of the camera; infinite: something did. */
  #silentSeconds = 0;
  /** Given by the relay; 0: it is not announced at the moment. */
  id = 0;
  /** Whether the room was told that it exists before. */
  wasPublished = false;
  /** Whether nothing comes because the page is not looked at. */
  isHidden = false;
  /** What the relay was told last. */
  isAnnouncedMuted = false;
  /** Nothing comes of it any more. */
  isOver = false;

  /** @param {number} key @param {LocalTrack} track @param {Encoding} encoding @param {{ info: TrackInfo, plan: VideoPlan | null }} announced @param {(publication: Publication) => void} hiddenChanged */
  constructor(key, track, encoding, { info, plan }, hiddenChanged) {
    this.key = key;
    this.track = track;
    this.info = info;
    this.plan = plan;
    this.hiddenChanged = hiddenChanged;
    this.#encoding = encoding;
    if (plan) encoding.tell({ type: 'video', key, plan });
    else encoding.tell({ type: 'audio', key, channels: track.channels, bitrate: track.channels === 1 ? AUDIO_BITRATE.speech : AUDIO_BITRATE.music });
    this.feed();
  }

  /** Whether nothing is sent. */
  get isMuted() {
    return this.track.muted || this.isHidden;
  }

  /** Connects the device that the track has now. */
  feed() {
    this.#endCapture();
    this.#endCapture = () => {};
    if (this.isOver || this.track.isStopped) return;
    if (this.track.kind === 'audio') this.#feedAudio();
    else this.#feedVideo();
  }

  /** A second has passed. Whether a camera hangs that was opened and has given nothing; told once. @param {number} captured frames so far */
  hangs(captured) {
    if (captured > 0) this.#silentSeconds = Infinity;
    else if (this.isExpected) this.#silentSeconds++;
    return this.isExpected && this.#silentSeconds === FIRST_FRAME_SECONDS_MAX;
  }

  /** Whether it is a camera that was opened here and should give pictures. Where they come by way of an element, none do in a hidden page. */
  get isExpected() {
    const { source, isOwnDevice, isStopped } = this.track;
    return source === 'camera' && isOwnDevice && !isStopped && !this.isMuted && globalThis.document?.hidden !== true;
  }

  /** @param {number} id 0: it is gone for the relay */
  published(id) {
    this.id = id;
    this.track.id = id;
    this.#encoding.tell({ type: 'published', key: this.key, track: id });
  }

  /** @param {number} layer */
  requestKeyframe(layer) {
    this.#encoding.tell({ type: 'keyframe', key: this.key, layer });
  }

  /** @param {{ spatialLayers: number, temporalLayer: number }} wanted */
  layersWanted({ spatialLayers, temporalLayer }) {
    this.#encoding.tell({ type: 'layers', key: this.key, spatialLayers, temporalLayer });
  }

  /** @param {{ best: import('./rate.js').Report, worst: import('./rate.js').Report }} feedback */
  feedback({ best, worst }) {
    this.#encoding.tell({ type: 'feedback', key: this.key, best, worst });
  }

  applyMute() {
    this.#encoding.tell({ type: 'mute', key: this.key, isMuted: this.isMuted });
  }

  /** It is over: nothing more comes of it. The device goes on. */
  end() {
    this.isOver = true;
    this.#endCapture();
    this.track.id = 0;
    this.#encoding.tell({ type: 'remove', key: this.key });
  }

  #feedAudio() {
    this.track.sendTo(() => {
      const { port1, port2 } = new MessageChannel();
      this.#encoding.tell({ type: 'audioInput', key: this.key, port: port2 }, [port2]);
      return port1;
    });
  }

  #feedVideo() {
    const { key } = this;
    this.#endCapture = captureVideo(this.track.mediaStreamTrack, {
      stream: (readable) => this.#encoding.tell({ type: 'videoInput', key, readable }, [/** @type {any} */ (readable)]),
      frame: (frame) => this.#encoding.tell({ type: 'frame', key, frame }, [/** @type {any} */ (frame)]),
      hidden: (isHidden) => {
        if (this.isHidden === isHidden) return;
        this.isHidden = isHidden;
        this.hiddenChanged(this);
      },
    });
  }
}

/**
 * What a track is announced as, and how it is encoded.
 * @param {LocalTrack} track @param {import('./codec.js').VideoCodecChoice} choice @param {Encoding} encoding
 * @returns {Promise<{ info: TrackInfo, plan: VideoPlan | null }>}
 */
export async function describe(track, choice, encoding) {
  if (track.kind === 'audio') return { info: audioInfo(track), plan: null };
  const { renditions, ...wish } = videoWish(track, choice);
  const { config, temporalLayersMin } = await encoding.prepare(wish);
  if (!config) throw new TertuliaError('codec_unsupported', 'This browser cannot encode video. Use a current Chrome, Edge or Firefox.');
  const { width, height, frameRate, isScreen } = wish;
  const plan = { config, temporalLayersMin, width, height, frameRate, renditions, isScreen, delivery: deliveries(track.options.delivery, isScreen) };
  return { plan, info: videoInfo(track, plan) };
}

/** @param {LocalTrack} track @returns {TrackInfo} */
function audioInfo(track) {
  return { source: track.source, codec: 'opus', media: { type: 'audio', sampleRate: OPUS_SAMPLE_RATE, channels: track.channels }, description: new Uint8Array() };
}

/** What a video track is worth. @param {LocalTrack} track @param {import('./codec.js').VideoCodecChoice} choice @returns {Wish & { renditions: number }} */
function videoWish(track, choice) {
  const isScreen = track.source === 'screen';
  const settings = track.mediaStreamTrack.getSettings();
  const captured = { width: settings.width || track.options.width || CAMERA.width, height: settings.height || track.options.height || CAMERA.height };
  const count = isScreen ? 1 : renditionCount(captured);
  const size = announcedSize(captured, count);
  const frameRateMax = track.options.frameRate ?? (isScreen ? SCREEN_FRAME_RATE : CAMERA.frameRate);
  const frameRate = Math.max(1, Math.min(frameRateMax, Math.round(settings.frameRate || frameRateMax)));
  const largest = renditions(size, { count, frameRate, isScreen })[count - 1];
  return { choice, ...size, bitrate: largest.bitrateMax, frameRate, isScreen, renditions: count };
}

/** @param {LocalTrack} track @param {VideoPlan} plan @returns {TrackInfo} */
function videoInfo(track, { config, width, height, frameRate, renditions }) {
  return {
    source: track.source, codec: config.codec, description: describeColour(config.codec, track.mediaStreamTrack.getSettings()),
    media: { type: 'video', width, height, frameRate: { numerator: frameRate, denominator: 1 }, temporalLayers: temporalLayers(config), spatialLayers: renditions },
  };
}
