/** One track of someone else on the page's side: whether to take it, which layers, and where it is seen or heard. */
import { AudioSink } from './audio-sink.js';
import { LayerChoice } from './layers.js';
import { Tile } from './tile.js';

/** @typedef {import('../../participants.js').RemoteParticipant} RemoteParticipant */
/** @typedef {import('./layers.js').Layers} Layers */
/** @typedef {import('./layers.js').Size} Size */
/** @typedef {import('./reception.js').ToReception} ToReception */
/** @typedef {import('./reception.js').TrackSecond} TrackSecond */
/** @typedef {import('./remote-track.js').RemoteTrack} RemoteTrack */
/**
 * What a subscription needs of the rest.
 * @typedef {object} SubscriptionHost
 * @property {(request: import('../../requests.js').Request) => void} ask of the relay; answers are of no use
 * @property {(message: ToReception, transfer?: Transferable[]) => void} post to the worker
 * @property {(canvas: HTMLCanvasElement) => { surface: number, canvas?: OffscreenCanvas }} surfaceOf
 * @property {(canvas: HTMLCanvasElement) => void} release
 * @property {(code: import('./subscribing.js').FailureCode) => void} failed
 * @property {(isSubscribed: boolean) => void} subscribed what the program wants has changed
 * @property {(participant: number) => boolean} isOnStage whether the relay sends everyone this participant's camera
 * @property {() => void} heldChanged
 */

/** How long video is taken that nobody sees, in milliseconds: a page is being built, a tile moves, a tab is left for a glance. */
export const UNSEEN_MS = 3000;

/** @typedef {import('./remote-track.js').TrackEngine} TrackEngine */

/** @implements {TrackEngine} */
export class Subscription {
  #host;
  /** @type {Map<HTMLCanvasElement, { tile: Tile, surface: number }>} */
  #shown = new Map();
  /** @type {LayerChoice | null} */
  #choice = null;
  /** @type {AudioSink | null} */
  #sink = null;
  #isTaken = true;
  /** @type {Layers} */
  #layers = { spatialLayer: 0, temporalLayer: 0 };
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #unseen;
  #isUnseen = false;
  /** @type {TrackSecond | null} */
  #second = null;
  #bitrate = 0;
  /** Pictures drawn in the last second. */
  #frameRate = 0;

  /** @param {RemoteParticipant} participant @param {RemoteTrack} track @param {SubscriptionHost} host */
  constructor(participant, track, host) {
    this.participant = participant;
    this.track = track;
    this.#host = host;
    const { id, info, muted } = track;
    track.isHeld = this.#isHeld();
    host.post({ type: 'add', track: { id, participant: participant.id, info, muted: muted || track.isHeld } });
    if (info.media.type === 'video') {
      this.#choice = new LayerChoice(info.media);
      this.#layers = this.#choice.layers;
    } else {
      const connected = (/** @type {MessagePort} */ port) => host.post({ type: 'playout', track: id, port }, [port]);
      this.#sink = new AudioSink(info.media.channels, { connected, failed: () => host.failed('playback_failed') });
      this.#sink.volume = track.volume;
    }
    track.connect(this);
    this.update();
  }

  /** @param {HTMLCanvasElement} canvas */
  attached(canvas) {
    const { surface, canvas: offscreen } = this.#host.surfaceOf(canvas);
    const tile = new Tile(canvas, () => this.#tileChanged(surface, tile.size));
    this.#shown.set(canvas, { tile, surface });
    this.#host.post({ type: 'attach', track: this.track.id, surface, canvas: offscreen, tile: tile.size }, offscreen ? [offscreen] : []);
    this.update();
  }

  /** @param {HTMLCanvasElement} canvas @param {boolean} isOurs */
  detached(canvas, isOurs) {
    const shown = this.#shown.get(canvas);
    if (!shown) return;
    shown.tile.close();
    this.#shown.delete(canvas);
    this.#host.post({ type: 'detach', track: this.track.id, surface: shown.surface });
    if (isOurs) this.#host.release(canvas);
    this.update();
  }

  volumeChanged() {
    if (this.#sink) this.#sink.volume = this.track.volume;
  }

  subscribedChanged() {
    this.update();
    this.#host.subscribed(this.track.isSubscribed);
  }

  pinnedChanged() {
    if (!this.#choice) return;
    if (this.#isTaken) this.#askPinned();
    this.stageChanged();
  }

  /** Who is on the stage has changed, or whether that matters. */
  stageChanged() {
    const isHeld = this.#isHeld();
    if (this.track.isHeld === isHeld) return;
    this.track.isHeld = isHeld;
    this.muted();
    this.#host.heldChanged();
  }

  /** Nothing comes of what is muted or held. */
  muted() {
    this.#host.post({ type: 'mute', track: this.track.id, muted: this.track.muted || this.track.isHeld });
  }

  stats() {
    const { id: track, source, kind, muted, state } = this.track;
    const { received = 0, lost = 0, jitterMs = 0, delayMs = 0, stats = {} } = this.#second ?? {};
    const layers = this.#choice ? { frameRate: this.#frameRate, wanted: this.#isTaken ? this.#layers : null } : {};
    return { codec: this.track.info.codec, track, participant: this.participant.id, source, kind, muted, state, received, lost, jitterMs, delayMs, bitrate: this.#bitrate, ...layers, ...stats };
  }

  /** A new session: what the relay knows of the subscription is uncertain. */
  assert() {
    const { id: track } = this.track;
    this.#host.ask(this.#isTaken ? { type: 'subscribe', track } : { type: 'unsubscribe', track });
    if (this.#isTaken) this.#askLayers();
    if (this.#isTaken && this.track.isPinned) this.#askPinned();
  }

  /** A second has passed. @param {TrackSecond} second */
  second(second) {
    this.#bitrate = (second.bytes - (this.#second?.bytes ?? 0)) * 8;
    this.#frameRate = (second.stats.framesDrawn ?? 0) - (this.#second?.stats.framesDrawn ?? 0);
    this.#second = second;
    if (this.#isTaken) this.#choice?.second(second);
    this.update();
  }

  /** Takes what is wanted and seen, and no more than it can show. */
  update() {
    if (!this.#choice) return this.#take(this.track.isSubscribed);
    this.#watch();
    const tiles = [...this.#shown.values()].filter(({ tile }) => tile.isSeen);
    if (tiles.length > 0) this.#choice.tiles(tiles.map(({ tile }) => ({ ...tile.size, isFilled: tile.isFilled })), this.#isTurned);
    this.#take(this.track.isSubscribed && !this.#isUnseen, this.#choice.layers);
  }

  close() {
    clearTimeout(this.#unseen);
    this.track.connect(null);
    this.track.state = 'waiting';
    for (const { tile } of this.#shown.values()) tile.close();
    this.#shown.clear();
    this.#sink?.close();
    this.#host.post({ type: 'remove', track: this.track.id });
  }

  /** Whether its pictures are upright and were announced as wide, or the other way round. */
  get #isTurned() {
    const { width, height, info: { media } } = this.track;
    return media.type === 'video' && width !== height && (width > height) !== (media.width > media.height);
  }

  get #isSeen() {
    return document.visibilityState === 'visible' && [...this.#shown.values()].some(({ tile }) => tile.isSeen);
  }

  /** Video that nobody sees is let go after a while, and taken again at once. */
  #watch() {
    if (this.#isSeen) {
      clearTimeout(this.#unseen);
      this.#unseen = undefined;
      this.#isUnseen = false;
    } else {
      this.#unseen ??= setTimeout(() => {
        this.#isUnseen = true;
        this.update();
      }, UNSEEN_MS);
    }
  }

  /** @param {boolean} isTaken @param {Layers} [layers] */
  #take(isTaken, layers = this.#layers) {
    const { id: track } = this.track;
    const isChange = isTaken !== this.#isTaken;
    const areOthers = layers.spatialLayer !== this.#layers.spatialLayer || layers.temporalLayer !== this.#layers.temporalLayer;
    if (!isChange && !areOthers) return;
    [this.#isTaken, this.#layers] = [isTaken, layers];
    if (isChange) this.#host.ask(isTaken ? { type: 'subscribe', track } : { type: 'unsubscribe', track });
    if (isTaken) this.#askLayers();
    if (isTaken && isChange && this.track.isPinned) this.#askPinned();
    this.#host.post({ type: 'take', track, isTaken, layers });
  }

  #isHeld() {
    const { track } = this;
    return track.kind === 'video' && track.source !== 'screen' && !track.isPinned && !this.#host.isOnStage(this.participant.id);
  }

  #askPinned() {
    this.#host.ask({ type: 'setPinned', track: this.track.id, pinned: this.track.isPinned });
  }

  #askLayers() {
    const { info: { media }, id: track } = this.track;
    // One layer leaves nothing to choose.
    if (media.type !== 'video' || (media.spatialLayers <= 1 && media.temporalLayers <= 1)) return;
    this.#host.ask({ type: 'setLayers', track, ...this.#layers });
  }

  /** @param {number} surface @param {Size} tile */
  #tileChanged(surface, tile) {
    this.#host.post({ type: 'tile', surface, tile });
    this.update();
  }
}
