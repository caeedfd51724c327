/** The audio of one device: its level for the page, and its frames for the encoder. */
import { holdAudio, releaseAudio, resumeAudio, sourceOf } from '../audio-context.js';
import { SILENCE_DB, meterLevel } from '../audio-level.js';
import { addWorklet } from '../worker-url.js';

const WORKLET = new URL('./capture.worklet.js', import.meta.url);

export class AudioCapture {
  #source;
  #node;
  #decibels = SILENCE_DB;

  /** Use {@link AudioCapture.open}. @param {MediaStreamAudioSourceNode} source @param {AudioWorkletNode} node */
  constructor(source, node) {
    holdAudio(this);
    this.#source = source;
    this.#node = node;
    node.port.onmessage = ({ data }) => { this.#decibels = data; };
  }

  /** @param {MediaStreamTrack} track @param {number} channels */
  static async open(track, channels) {
    const source = sourceOf(new MediaStream([track]));
    const context = /** @type {AudioContext} */ (source.context);
    await addWorklet(context, WORKLET);
    void resumeAudio();
    void context.resume().catch(() => {});
    const node = new AudioWorkletNode(context, 'tertulia-capture', {
      numberOfInputs: 1, numberOfOutputs: 1, outputChannelCount: [1],
      channelCount: channels, channelCountMode: 'explicit', processorOptions: { channels },
    });
    // It writes nothing, and would not run without a way to the speaker.
    source.connect(node).connect(context.destination);
    return new AudioCapture(source, node);
  }

  /** As a meter shows it, 0 to 1. */
  get level() {
    return meterLevel(this.#decibels);
  }

  /** Sends the frames there from now on, as {@link import('./capture.worklet.js').CapturedAudio}. @param {MessagePort} port */
  sendTo(port) {
    this.#node.port.postMessage({ type: 'frames', port }, [port]);
  }

  stop() {
    this.#decibels = SILENCE_DB;
    this.#node.port.onmessage = null;
    // The processor runs until it is told.
    this.#node.port.postMessage({ type: 'close' });
    this.#source.disconnect();
    this.#node.disconnect();
    releaseAudio(this);
  }
}
