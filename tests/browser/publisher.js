// Runs in a page: a publisher and a relay in one, without a network. Encodes pictures and tones, cuts them into datagrams, and gives
// those to what receives.
import { nowMs, ticksOf } from '../../web/sdk/media/media-clock.js';
import { References } from '../../web/sdk/media/send/references.js';
import { RemoteTrack } from '../../web/sdk/media/receive/remote-track.js';
import { Subscribing } from '../../web/sdk/media/receive/subscribing.js';
import { encodeDatagram } from '../../web/sdk/wire.js';

export { audioContext } from '../../web/sdk/media/audio-context.js';
export { FrameCipher, newSecret } from '../../web/sdk/media/encryption.js';

/** @typedef {import('../../web/sdk/wire/media.js').MediaHeader} MediaHeader */
/** @typedef {import('../../web/sdk/wire/messages.js').TrackInfo} TrackInfo */
/** @typedef {import('../../web/sdk/participants.js').RemoteParticipant} RemoteParticipant */
/** @typedef {{ header: MediaHeader, payload: Uint8Array<ArrayBuffer> }} Whole */
/** What happens to the datagrams of a frame on their way. @typedef {(datagrams: Uint8Array[], frame: Whole) => Uint8Array[] | Promise<Uint8Array[]>} Route */

const FRAGMENT_BYTES = 900;
const PICTURE_MS = 33;
const SOUND_MS = 20;

/** What pictures are filled with, one after the other. */
export const COLOURS = [[192, 32, 32], [32, 192, 32], [32, 32, 192]];

/** @param {number} ms */
export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** @param {Whole} frame */
export function datagramsOf({ header, payload }) {
  const fragmentCount = Math.max(1, Math.ceil(payload.length / FRAGMENT_BYTES));
  const bytes = Math.ceil(payload.length / fragmentCount);
  return Array.from({ length: fragmentCount }, (_, fragmentIndex) => {
    const part = payload.subarray(fragmentIndex * bytes, (fragmentIndex + 1) * bytes);
    return encodeDatagram({ ...header, fragmentIndex, fragmentCount, payload: part }).slice(1);
  });
}

/** @param {Partial<MediaHeader>} header @returns {MediaHeader} */
export const headerOf = (header) => ({
  track: 1, frame: 0, dependsOnDistance: 0, keyframe: false, parity: false, onStream: false, temporalLayer: 0, spatialLayer: 0, audioLevel: 127, fragmentIndex: 0,
  fragmentCount: 0, timestamp: ticksOf(nowMs()), ...header,
});

/** @param {number} width @param {number} height @param {Partial<TrackInfo> & { spatialLayers?: number }} [rest] @returns {TrackInfo} */
export const videoInfo = (width, height, { spatialLayers = 1, ...rest } = {}) => ({
  source: 'camera', codec: 'vp8', description: new Uint8Array(),
  media: { type: 'video', width, height, frameRate: { numerator: 30, denominator: 1 }, temporalLayers: 2, spatialLayers }, ...rest,
});

/** @param {number} [channels] @returns {TrackInfo} */
export const audioInfo = (channels = 1) => ({
  source: 'microphone', codec: 'opus', description: new Uint8Array(), media: { type: 'audio', sampleRate: 48_000, channels },
});

/** A link that writes down what is said. */
export class FakeLink {
  /** @type {any[]} */
  asked = [];
  /** @type {any[]} */
  told = [];
  /** @type {{ type: string, value: any }[]} */
  events = [];
  /** When a keyframe is wished for. @type {(spatialLayer: number) => void} */
  wished = () => {};

  /** @param {any} request */
  async ask(request) {
    this.asked.push(request);
  }

  /** @param {any} message */
  tell(message) {
    this.told.push(message);
    if (message.type === 'requestKeyframe') this.wished(message.spatialLayer);
  }

  sendDatagram() {}

  /** Nothing is sent once more here. */
  pathMs() {
    return null;
  }

  /** @param {string} type @param {any} value */
  emit(type, value) {
    this.events.push({ type, value });
  }

  self = () => ({ id: 1 });

  /** @param {string} type */
  of(type) {
    return this.events.filter((event) => event.type === type).map(({ value }) => value);
  }
}

/** VP8 with two temporal layers. Its pictures are in the colours of a camera, BT.601. */
export class Camera {
  /** @type {number} */
  #width;
  /** @type {number} */
  #height;
  #encoder;
  #references = new References();
  #pictures = 0;
  /** @type {(frame: Whole) => void} */
  #made = () => {};
  isKeyframeWished = true;
  timestamp = 0;

  /** @param {number} track @param {number} width @param {number} height @param {number} [spatialLayer] */
  constructor(track, width, height, spatialLayer = 0) {
    this.#width = width;
    this.#height = height;
    this.#encoder = new VideoEncoder({
      output: (chunk, metadata) => {
        const keyframe = chunk.type === 'key';
        const temporalLayer = /** @type {any} */ (metadata)?.svc?.temporalLayerId ?? 0;
        const header = { ...this.#references.next({ keyframe, temporalLayer }), track, keyframe, temporalLayer, spatialLayer, timestamp: this.timestamp };
        this.#made({ header: headerOf(header), payload: bytesOf(chunk) });
      },
      error: reportError,
    });
    this.#encoder.configure({ codec: 'vp8', width, height, bitrate: 800_000, framerate: 30, latencyMode: 'realtime', scalabilityMode: 'L1T2' });
  }

  /** @param {number[]} colour @returns {Promise<Whole>} */
  capture(colour) {
    this.timestamp = ticksOf(nowMs());
    const picture = new VideoFrame(this.#paint(colour), {
      format: 'I420', codedWidth: this.#width, codedHeight: this.#height, timestamp: this.#pictures++ * 33_333,
      colorSpace: { primaries: 'smpte170m', transfer: 'smpte170m', matrix: 'smpte170m', fullRange: false },
    });
    const made = new Promise((/** @type {(frame: Whole) => void} */ resolve) => { this.#made = resolve; });
    this.#encoder.encode(picture, { keyFrame: this.isKeyframeWished });
    this.isKeyframeWished = false;
    picture.close();
    return made;
  }

  close() {
    this.#encoder.close();
  }

  /** A picture of one colour, and something bright in it that moves, as every picture has. @param {number[]} colour */
  #paint([red, green, blue]) {
    const pixels = this.#width * this.#height;
    const planes = new Uint8Array(pixels * 1.5);
    planes.fill(16 + 0.257 * red + 0.504 * green + 0.098 * blue, 0, pixels);
    planes.fill(128 - 0.148 * red - 0.291 * green + 0.439 * blue, pixels, pixels * 1.25);
    planes.fill(128 + 0.439 * red - 0.368 * green - 0.071 * blue, pixels * 1.25);
    const left = (this.#pictures * 5) % (this.#width - 20);
    for (let row = 0; row < 20; row++) planes.fill(235, row * this.#width + left, row * this.#width + left + 20);
    return planes;
  }
}

/** A tone in Opus. */
export class Microphone {
  #encoder;
  #track;
  #channels;
  #frames = 0;
  #samples = 0;
  /** @type {Uint8Array<ArrayBuffer>[]} */
  #made = [];

  /** @param {number} track @param {number} [channels] */
  constructor(track, channels = 1) {
    this.#track = track;
    this.#channels = channels;
    this.#encoder = new AudioEncoder({ output: (chunk) => void this.#made.push(bytesOf(chunk)), error: reportError });
    this.#encoder.configure({ codec: 'opus', sampleRate: 48_000, numberOfChannels: channels, bitrate: 32_000 });
  }

  /** What is encoded by now. @returns {Whole[]} */
  capture() {
    const length = 960;
    const data = new Float32Array(length * this.#channels);
    for (let at = 0; at < data.length; at++) data[at] = 0.4 * Math.sin((2 * Math.PI * 250 * (this.#samples + (at % length))) / 48_000);
    const audio = new AudioData({
      format: 'f32-planar', sampleRate: 48_000, numberOfChannels: this.#channels, numberOfFrames: length, timestamp: (this.#samples / 48) * 1000, data,
    });
    this.#samples += length;
    this.#encoder.encode(audio);
    audio.close();
    return this.#made.splice(0).map((payload) => ({ header: headerOf({ track: this.#track, frame: this.#frames++, audioLevel: 10 }), payload }));
  }

  close() {
    this.#encoder.close();
  }
}

/** Someone who publishes, and what receives it. */
export class Stage {
  link = new FakeLink();
  subscribing;
  ana = /** @type {RemoteParticipant} */ (/** @type {unknown} */ ({ id: 7, name: 'Ana' }));

  /** @param {{ encryptionKey?: string }} [options] */
  constructor(options) {
    this.subscribing = new Subscribing(this.link, options);
    this.subscribing.seated({ room: 'stage' });
    Object.assign(globalThis, { stage: this });
  }

  /** @param {number} id @param {TrackInfo} info */
  publish(id, info, muted = false) {
    const track = new RemoteTrack({ track: id, info, muted });
    this.subscribing.published(this.ana, track);
    return track;
  }

  /** A place in the page for a picture. @param {number} width @param {number} height */
  tile(width, height) {
    const tile = document.body.appendChild(document.createElement('div'));
    Object.assign(tile.style, { width: `${width}px`, height: `${height}px` });
    return tile;
  }

  /** Publishes video and shows it. @param {number} width @param {number} height */
  show(width, height, id = 3, info = videoInfo(width, height)) {
    const track = this.publish(id, info);
    const canvas = /** @type {HTMLCanvasElement} */ (track.attach(this.tile(width, height)));
    const camera = new Camera(id, width, height);
    this.link.wished = () => { camera.isKeyframeWished = true; };
    return { track, canvas, camera };
  }

  /** Sends pictures, each ten of a colour. @param {Camera} camera @param {number} count @param {Route} [route] */
  async film(camera, count, route = (datagrams) => datagrams) {
    for (let at = 0; at < count; at++) {
      const began = performance.now();
      const frame = await camera.capture(COLOURS[Math.floor(at / 10) % COLOURS.length]);
      for (const datagram of await route(datagramsOf(frame), frame)) this.subscribing.media(datagram);
      await pause(PICTURE_MS - (performance.now() - began));
    }
  }

  /** Sends a tone. @param {Microphone} microphone @param {number} ms @param {Route} [route] */
  async speak(microphone, ms, route = (datagrams) => datagrams) {
    const began = performance.now();
    for (let sentMs = 0; sentMs < ms; sentMs += SOUND_MS) {
      for (const frame of microphone.capture()) for (const datagram of await route(datagramsOf(frame), frame)) this.subscribing.media(datagram);
      await pause(began + sentMs + SOUND_MS - performance.now());
    }
  }

  /** Waits until it is so. @param {() => unknown} isSo @param {number} [ms] @returns {Promise<number>} how long it took */
  async until(isSo, ms = 10_000) {
    const began = performance.now();
    while (!isSo()) {
      if (performance.now() - began > ms) throw new Error(`not within ${ms} ms: ${isSo}`);
      await pause(5);
    }
    return performance.now() - began;
  }

  /** Waits until a canvas shows one of {@link COLOURS}: the first picture waits for a worker to begin. @param {HTMLCanvasElement} canvas @param {number} name */
  shows(canvas, name) {
    return this.until(() => nameOf(colourOf(canvas)) === name);
  }

  /** Figures of a track, when the next second is over. @param {RemoteTrack} track */
  async statsOf(track) {
    const reports = () => this.link.told.filter(({ type }) => type === 'report').length;
    const before = reports();
    await this.until(() => reports() > before, 2500).catch(() => pause(0));
    return track.stats();
  }

  /** Writes down whenever a canvas has a colour that nobody sent. @param {HTMLCanvasElement} canvas */
  watch(canvas) {
    const strange = /** @type {number[][]} */ ([]);
    const timer = setInterval(() => {
      const colour = colourOf(canvas);
      if (nameOf(colour) === null && colour.some((part) => part > 0)) strange.push(colour);
    }, 15);
    return { strange, stop: () => clearInterval(timer) };
  }
}

/** What a canvas shows, in its middle. @param {HTMLCanvasElement} canvas */
export function colourOf(canvas) {
  const copy = new OffscreenCanvas(1, 1);
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (copy.getContext('2d'));
  context.drawImage(canvas, canvas.width / 2, canvas.height / 2, 1, 1, 0, 0, 1, 1);
  return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
}

/** Which of {@link COLOURS} it is. @param {number[]} colour @returns {number | null} */
export function nameOf(colour) {
  const at = COLOURS.findIndex((known) => known.every((part, index) => Math.abs(part - colour[index]) < 16));
  return at < 0 ? null : at;
}

/** Hears what goes to the speaker. */
export class Ear {
  #analyser;
  #samples = new Float32Array(4096);

  /** @param {AudioContext} context before anything plays */
  constructor(context) {
    this.#analyser = new AnalyserNode(context, { fftSize: this.#samples.length });
    const { connect } = AudioNode.prototype;
    const analyser = this.#analyser;
    /** @this {AudioNode} @param {any[]} to @returns {any} */
    AudioNode.prototype.connect = function (...to) {
      if (to[0] === context.destination) Reflect.apply(connect, this, [analyser]);
      return Reflect.apply(connect, this, to);
    };
  }

  /** What is heard every 50 ms until something has been done. @param {Promise<unknown>} done */
  async during(done) {
    const heard = /** @type {ReturnType<Ear['listen']>[]} */ ([]);
    const timer = setInterval(() => heard.push(this.listen()), 50);
    await done;
    clearInterval(timer);
    return heard;
  }

  /** The root mean square of the last 85 ms, and the longest run of silence in them in milliseconds. */
  listen() {
    this.#analyser.getFloatTimeDomainData(this.#samples);
    let [sum, run, longest] = [0, 0, 0];
    for (const sample of this.#samples) {
      sum += sample * sample;
      run = Math.abs(sample) < 1e-4 ? run + 1 : 0;
      longest = Math.max(longest, run);
    }
    return { loudness: Math.sqrt(sum / this.#samples.length), silenceMs: longest / 48 };
  }
}

/** @param {EncodedVideoChunk | EncodedAudioChunk} chunk */
function bytesOf(chunk) {
  const bytes = new Uint8Array(chunk.byteLength);
  chunk.copyTo(bytes);
  return bytes;
}
