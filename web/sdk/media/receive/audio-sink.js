/** Where one audio track is heard: from the playout, through its volume, to the speaker. */
import { audioContext, holdAudio, releaseAudio } from '../audio-context.js';
import { addWorklet } from '../worker-url.js';

/** How long a change of the volume takes, in seconds: no click. */
const VOLUME_SECONDS = 0.02;

const WORKLET = new URL('./playout.worklet.js', import.meta.url);

export class AudioSink {
  #context = audioContext();
  #gain = this.#context.createGain();
  /** @type {AudioWorkletNode | null} */
  #playout = null;
  #isClosed = false;

  /**
   * @param {number} channels
   * @param {{ connected: (port: MessagePort) => void, failed: () => void }} listener `connected`: the port to which decoded frames go
   */
  constructor(channels, { connected, failed }) {
    holdAudio(this);
    this.#gain.connect(this.#context.destination);
    this.#begin(channels, connected).catch(failed);
  }

  /** @param {number} volume 0 to 1 */
  set volume(volume) {
    this.#gain.gain.setTargetAtTime(volume, this.#context.currentTime, VOLUME_SECONDS);
  }

  close() {
    this.#isClosed = true;
    // The processor runs until it is told.
    this.#playout?.port.postMessage({ type: 'close' });
    this.#playout?.disconnect();
    this.#gain.disconnect();
    releaseAudio(this);
  }

  /** @param {number} channels @param {(port: MessagePort) => void} connected */
  async #begin(channels, connected) {
    await addWorklet(this.#context, WORKLET);
    if (this.#isClosed) return;
    const options = { numberOfInputs: 0, outputChannelCount: [channels], processorOptions: { channels } };
    this.#playout = new AudioWorkletNode(this.#context, 'tertulia-playout', options);
    this.#playout.connect(this.#gain);
    const { port1, port2 } = new MessageChannel();
    this.#playout.port.postMessage({ type: 'connect', worker: port1 }, [port1]);
    connected(port2);
  }
}
