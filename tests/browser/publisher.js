// A publisher and a relay inside the page: encodes pictures and sounds, cuts datagrams, and gives them to what is tested.
import { encodeDatagram } from '../../web/sdk/wire.js';

const FRAGMENT_BYTES = 900;

/** The colour that every picture has. Far from each other, so that a codec cannot mix them up. */
export const COLOURS = ['#c02020', '#20c020', '#2020c0'];

/** The time of capture, as the SDK tells it. */
export const now = () => Math.round((performance.timeOrigin + performance.now()) * 90) >>> 0;

/** @typedef {{ data: Uint8Array, keyframe: boolean, temporalLayer: number, distance: number }} Encoded */

/** Cuts a frame as a sender does. */
export function datagramsOf({ track, frame, data, keyframe = false, distance = 0, temporalLayer = 0, spatialLayer = 0, audioLevel = 127, timestamp = now() }) {
  const count = Math.max(1, Math.ceil(data.length / FRAGMENT_BYTES));
  const size = Math.ceil(data.length / count);
  return Array.from({ length: count }, (_, fragmentIndex) => encodeDatagram({
    track, frame, dependsOnDistance: distance, keyframe, parity: false, temporalLayer, spatialLayer, audioLevel, fragmentIndex, fragmentCount: count, timestamp,
    payload: data.subarray(fragmentIndex * size, (fragmentIndex + 1) * size),
  }).subarray(1));
}

/** VP8 with two temporal layers, in colours that say what was sent. */
export class Camera {
  #canvas; #context; #encoder; #frame = 0; #isKeyWanted = true; #made = null;
  constructor({ width = 320, height = 180, codec = 'vp8' } = {}) {
    this.#canvas = new OffscreenCanvas(width, height);
    this.#context = this.#canvas.getContext('2d');
    this.#encoder = new VideoEncoder({ output: (chunk, metadata) => this.#made?.({ chunk, metadata }), error: (error) => { throw error; } });
    this.#encoder.configure({ codec, width, height, bitrate: 800_000, framerate: 30, latencyMode: 'realtime', scalabilityMode: 'L1T2' });
  }
  wantKeyframe() { this.#isKeyWanted = true; }
  /** @returns {Promise<Encoded & { frame: number, timestamp: number }>} */
  async capture(colour, { noise = 0 } = {}) {
    const timestamp = now();
    this.#context.fillStyle = colour;
    this.#context.fillRect(0, 0, this.#canvas.width, this.#canvas.height);
    for (let at = 0; at < noise; at++) {
      this.#context.fillStyle = `hsl(${Math.random() * 360} 80% 50%)`;
      this.#context.fillRect(Math.random() * this.#canvas.width, Math.random() * 40, 12, 8);
    }
    const picture = new VideoFrame(this.#canvas, { timestamp: this.#frame * 33_333 });
    const made = new Promise((resolve) => { this.#made = resolve; });
    const keyFrame = this.#isKeyWanted;
    this.#isKeyWanted = false;
    this.#encoder.encode(picture, { keyFrame });
    picture.close();
    const { chunk, metadata } = await made;
    const data = new Uint8Array(chunk.byteLength);
    chunk.copyTo(data);
    const frame = this.#frame++;
    const keyframe = chunk.type === 'key';
    if (keyframe) this.start = frame;
    const temporalLayer = metadata?.svc?.temporalLayerId ?? 0;
    // Both layers refer to the last frame of the base layer.
    const distance = keyframe ? 0 : frame - this.base;
    if (temporalLayer === 0) this.base = frame;
    return { data, keyframe, temporalLayer, distance, frame, timestamp };
  }
  close() { this.#encoder.close(); }
}

/** Opus: a tone. */
export class Microphone {
  #encoder; #frame = 0; #made = []; #phase = 0;
  constructor({ channels = 1 } = {}) {
    this.channels = channels;
    this.#encoder = new AudioEncoder({ output: (chunk) => { const data = new Uint8Array(chunk.byteLength); chunk.copyTo(data); this.#made.push(data); }, error: (error) => { throw error; } });
    this.#encoder.configure({ codec: 'opus', sampleRate: 48_000, numberOfChannels: channels, bitrate: 32_000, opus: { frameDuration: 20_000 } });
  }
  /** Frames that are ready. */
  capture(hertz = 220) {
    const samples = new Float32Array(960 * this.channels);
    for (let at = 0; at < 960; at++) {
      this.#phase += (2 * Math.PI * hertz) / 48_000;
      for (let channel = 0; channel < this.channels; channel++) samples[channel * 960 + at] = 0.4 * Math.sin(this.#phase);
    }
    const audio = new AudioData({ format: 'f32-planar', sampleRate: 48_000, numberOfChannels: this.channels, numberOfFrames: 960, timestamp: this.#frame * 20_000, data: samples });
    this.#encoder.encode(audio);
    audio.close();
    return this.#made.splice(0).map((data) => ({ data, frame: this.#frame++, timestamp: now(), audioLevel: 10 }));
  }
  close() { this.#encoder.close(); }
}

export const videoInfo = (rest = {}) => ({ source: 'camera', codec: 'vp8', description: new Uint8Array(), media: { type: 'video', width: 320, height: 180, frameRate: { numerator: 30, denominator: 1 }, temporalLayers: 2, spatialLayers: 1 }, ...rest });
export const audioInfo = (rest = {}) => ({ source: 'microphone', codec: 'opus', description: new Uint8Array(), media: { type: 'audio', sampleRate: 48_000, channels: 1 }, ...rest });

/** A link that writes down what is said. */
export class FakeLink {
  asked = []; told = []; events = [];
  ask(request) { this.asked.push(request); return Promise.resolve({ type: 'done', request: 0 }); }
  tell(message) { this.told.push(message); this.onTell?.(message); }
  emit(type, value) { this.events.push({ type, value }); }
  carrier() { return 'webtransport'; }
  self() { return { id: 1, name: 'Me' }; }
}
