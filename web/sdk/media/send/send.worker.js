/** The worker that encodes what is published. What it is told and tells is in encoding.js. */
import { AudioEncoding } from './audio-encoding.js';
import { chooseCodec, codecString, encoderConfigs, fewestTemporalLayers, firstSupported } from './codec.js';
import { prove } from './codec-proof.js';
import { FrameCipher } from '../encryption.js';
import { FrameSender } from './frame-sender.js';
import { Pacer } from './pacer.js';
import { RateControl, audioBitrate, shareWithParity } from './rate.js';
import { LossSpell, Redundancy } from './redundancy.js';
import { StreamSpell } from './stream-spell.js';
import { VideoEncoding } from './video-encoding.js';

/** @typedef {import('./encoding.js').ToWorker} ToWorker */
/** @typedef {import('./encoding.js').FromWorker} FromWorker */
/** @typedef {{ kind: 'video', encoding: VideoEncoding, sender: FrameSender, redundancy: Redundancy, lossToRelay: LossSpell }} VideoTrack */
/** @typedef {{ kind: 'audio', encoding: AudioEncoding, sender: FrameSender, bitrate: number, redundancy: Redundancy }} AudioTrack */

/** How often the rate is set, in milliseconds: reports come as often. */
const UPDATE_MS = 1000;
/**
 * Firefox drops datagrams that its congestion control does not let out at once, and that lets out few where some get lost. On streams, they
 * wait, and datagrams leave behind all that is on streams.
 */
const DROPS_DATAGRAMS = /Firefox\//.test(navigator.userAgent);
/** The number under which the page's own queue is reported, which no track has. */
const OWN_QUEUE = -1;

const page = /** @type {{ postMessage(message: FromWorker, transfer?: Transferable[]): void, onmessage: ((event: MessageEvent<ToWorker>) => void) | null }} */ (/** @type {unknown} */ (globalThis));

/** By their keys. @type {Map<number, VideoTrack | AudioTrack>} */
const tracks = new Map();
/** Those that are to send nothing. @type {WeakSet<VideoTrack | AudioTrack>} */
const muted = new WeakSet();
/** @type {FrameCipher | null} */
let cipher = null;
/** There is no session. */
let isPaused = true;
/** While the relay misses something, or the browser does not take all datagrams. */
let spell = new StreamSpell();
const rate = new RateControl();
/** @type {Pacer<import('./frame-sender.js').OutgoingFrame>} */
const pacer = new Pacer({
  send: ({ datagrams, tag }) => page.postMessage({ type: 'datagrams', ...tag, datagrams }, datagrams.map(({ buffer }) => buffer)),
});

page.onmessage = ({ data }) => void handle(data).catch((error) => reportError(error));
setInterval(update, UPDATE_MS);

/** @param {ToWorker} message */
async function handle(message) {
  switch (message.type) {
    case 'prepare': return prepare(message);
    case 'encrypt': return void (cipher = new FrameCipher(message.frameKey));
    case 'carrier': return carrier(message.carrier);
    case 'pause': return pauseAll(message.isPaused);
    case 'queueing': return rate.report(OWN_QUEUE, { received: 0, lost: 0, jitterMs: 0, delayMs: message.delayMs }, performance.now());
    case 'missed': return spell.missed(performance.now());
    case 'video': return void tracks.set(message.key, video(message));
    case 'audio': return void tracks.set(message.key, audio(message));
    case 'frame': return offer(message.key, message.frame);
    case 'removeAll': return removeAll();
  }
  const track = tracks.get(message.key);
  if (!track) return message.type === 'videoInput' ? passOver(message.readable) : undefined;
  switch (message.type) {
    case 'videoInput': return void (track.kind === 'video' && track.encoding.input(message.readable));
    case 'audioInput': return void (track.kind === 'audio' && track.encoding.input(message.port));
    case 'published': return published(track, message.track);
    case 'mute': return mute(track, message.isMuted);
    case 'keyframe': return void (track.kind === 'video' && track.encoding.requestKeyframe(message.layer));
    case 'broken': return void (track.kind === 'video' && track.encoding.broken(message.layer));
    case 'layers': return void (track.kind === 'video' && track.encoding.layersWanted(message.spatialLayers, message.temporalLayer));
    case 'feedback': return feedback(track, message);
    case 'remove':
      tracks.delete(message.key);
      track.encoding.close();
  }
}

/** Finds out what this browser encodes, and how. @param {Extract<ToWorker, { type: 'prepare' }>} message */
async function prepare({ request, choice, ...encoding }) {
  const cores = navigator.hardwareConcurrency ?? 1;
  const name = await chooseCodec(choice, { cores, frameRate: encoding.frameRate, prove: (name) => prove(name, encoding) });
  const config = await firstSupported(encoderConfigs({ ...encoding, codec: codecString(name, encoding) }));
  page.postMessage({ type: 'prepared', request, config, temporalLayersMin: config ? await fewestTemporalLayers(config) : 0 });
}

/** @param {import('../../carrier.js').Carrier | null} name */
function carrier(name) {
  pacer.isWhole = name === 'websocket';
  pacer.clear();
  rate.reset();
  spell = new StreamSpell();
  // What was on its way on the other one may never arrive.
  for (const track of tracks.values()) if (track.kind === 'video') track.encoding.requestKeyframes();
}

function removeAll() {
  pacer.clear();
  for (const { encoding } of tracks.values()) encoding.close();
  tracks.clear();
}

/** Closes the frames of a track that is gone, until its device stops. @param {ReadableStream<VideoFrame>} readable */
function passOver(readable) {
  return readable.pipeTo(new WritableStream({ write: (frame) => frame.close() })).catch(() => {});
}

/** @param {boolean} paused */
function pauseAll(paused) {
  isPaused = paused;
  pacer.clear();
  for (const track of tracks.values()) applyPause(track);
}

/** @param {VideoTrack | AudioTrack} track @param {boolean} isMuted */
function mute(track, isMuted) {
  if (isMuted) muted.add(track);
  else muted.delete(track);
  applyPause(track);
}

/** Whether nothing of it leaves. @param {VideoTrack | AudioTrack} track */
function isSilent(track) {
  return isPaused || muted.has(track) || track.sender.track === 0;
}

/** @param {VideoTrack | AudioTrack} track */
function applyPause(track) {
  if (track.kind === 'video') track.encoding.pause(isSilent(track));
  else track.encoding.isPaused = isSilent(track);
}

/** @param {Extract<ToWorker, { type: 'video' }>} message @returns {VideoTrack} */
function video({ key, plan }) {
  const redundancy = new Redundancy();
  const { delivery } = plan;
  const sender = new FrameSender({ key, kind: 'video', delivery, pacer, cipher: () => cipher, redundancy, left: ({ spatialLayer }) => encoding.broken(spatialLayer) });
  sender.intervalMs = 1000 / plan.frameRate;
  const encoding = new VideoEncoding({ plan, output: (frame) => sender.send(frame), failed: (error) => fail(key, error) });
  encoding.pause(true);
  return { kind: 'video', encoding, sender, redundancy, lossToRelay: new LossSpell() };
}

/** @param {Extract<ToWorker, { type: 'audio' }>} message @returns {AudioTrack} */
function audio({ key, channels, bitrate }) {
  const redundancy = new Redundancy();
  const sender = new FrameSender({ key, kind: 'audio', delivery: { keyframes: 'datagrams', others: 'datagrams' }, pacer, cipher: () => cipher, redundancy, left: () => {} });
  const encoding = new AudioEncoding({ channels, bitrate, output: (frame) => sender.send(frame), failed: (error) => fail(key, error) });
  encoding.isPaused = true;
  return { kind: 'audio', encoding, sender, bitrate, redundancy };
}

/** @param {number} key @param {Error} error */
function fail(key, error) {
  tracks.get(key)?.encoding.close();
  tracks.delete(key);
  page.postMessage({ type: 'failed', key, reason: String(error) });
}

/** @param {number} key @param {VideoFrame} frame */
function offer(key, frame) {
  const track = tracks.get(key);
  if (track?.kind === 'video') track.encoding.offer(frame);
  else frame.close();
}

/** It has an id, or another one than before. @param {VideoTrack | AudioTrack} track @param {number} id 0: it is not published any more */
function published(track, id) {
  if (id !== track.sender.track && id !== 0) {
    track.encoding.restart();
    track.redundancy.forget();
  }
  track.sender.track = id;
  applyPause(track);
}

/** @param {VideoTrack | AudioTrack} track @param {Extract<ToWorker, { type: 'feedback' }>} feedback */
function feedback(track, { key, best, worst }) {
  const now = performance.now();
  rate.report(key, best, now, track.kind === 'audio');
  // A second copy costs the others less than the gap costs the one who loses something.
  track.redundancy.feedback(worst, now);
  if (track.kind === 'video') track.lossToRelay.feedback(best, now);
}

function update() {
  const all = [...tracks.values()];
  const sent = all.map(({ sender: { bits, frames } }) => ({ bits, frames }));
  for (const { sender } of all) sender.bits = sender.frames = 0;
  // Without pictures on streams there is nothing to go ahead of.
  const hasPictures = all.some((track) => track.kind === 'video' && !isSilent(track));
  const prefersStreams = DROPS_DATAGRAMS && !pacer.isWhole && hasPictures && spell.lasts(performance.now());
  for (const { sender } of all) sender.prefersStreams = prefersStreams;
  const target = rate.update(sent.reduce((sum, { bits }) => sum + bits, 0), performance.now());
  let rest = target;
  for (const track of all) {
    if (track.kind === 'video' || track.encoding.isPaused) continue;
    const bitrate = audioBitrate(target, track.bitrate);
    track.encoding.setBitrate(bitrate);
    rest -= bitrate;
  }
  assign(Math.max(rest, 0));
  const keys = [...tracks.keys()];
  page.postMessage({ type: 'statistics', target, tracks: all.map((track, at) => ({ key: keys[at], ...sent[at], ...statistics(track) })) });
}

/** @param {number} total bits per second for video */
function assign(total) {
  const videos = [...tracks.values()].filter((track) => track.kind === 'video');
  const demands = videos.map(({ encoding }) => encoding.demands());
  // A browser that drops datagrams sends pictures on streams then, and each change of its bitrate begins with a keyframe.
  const hasLoss = !DROPS_DATAGRAMS && videos.some(({ sender, lossToRelay }) => sender.sendsDatagrams && lossToRelay.isDue(performance.now()));
  const { bitrates, hasRoom } = shareWithParity(total, demands.flat(), hasLoss);
  for (const [at, { encoding, sender }] of videos.entries()) {
    encoding.assign(bitrates.splice(0, demands[at].length));
    sender.hasRoom = hasRoom;
  }
}

/** @param {VideoTrack | AudioTrack} track */
function statistics(track) {
  const framesSent = track.sender.sent;
  return track.kind === 'audio' ? { framesSent, renditions: [] } : { framesSent, renditions: track.encoding.statistics(), counts: track.encoding.counts };
}
