/** The AudioContext that captures, plays and measures. A browser keeps it silent until the person has clicked or typed. */
import { OPUS_SAMPLE_RATE } from './audio-format.js';

/** What counts as a gesture. */
const GESTURES = /** @type {const} */ (['pointerup', 'keydown', 'touchend']);

/** How long a context that may run needs to do so at most, in milliseconds. */
const RESUME_MS = 500;

/**
 * How long after something else suspended a context it is tried whether it may go on, in milliseconds: not in the middle of a change of devices. Twice as
 * long each time, until it has run for the longest.
 */
const AGAIN_MS = { least: 1000, most: 30_000 };

/**
 * Firefox where it speaks to PulseAudio. Asked for its output latency while audio is being rendered, its page waits for the sound server,
 * which waits for the rendering, which waits for the page: all sound, cameras and microphones of the browser stand still for good.
 */
const MUST_NOT_BE_ASKED = /X11;.*Firefox\//;
/** What such a Firefox says where it answers is 35 to 50 ms. */
const UNASKED_OUTPUT_MS = 40;

/** @type {AudioContext | null} */
let shared = null;
/** At the sample rate of the devices. @type {AudioContext | null} */
let devices = null;

/** What plays or captures. @type {Set<object>} */
const users = new Set();

/** It is to run from now on, for what plays or captures. @param {object} user */
export function holdAudio(user) {
  const rested = users.size === 0;
  users.add(user);
  if (rested) for (const context of contexts()) void context.resume().catch(() => {});
}

/** It is not needed for this any longer. For nobody, it rests: one that runs keeps the devices and a thread awake. @param {object} user */
export function releaseAudio(user) {
  if (!users.delete(user) || users.size > 0) return;
  for (const context of contexts()) void context.suspend().catch(() => {});
}

function contexts() {
  return [shared, devices].flatMap((context) => (context && context.state !== 'closed' ? [context] : []));
}

/** Made when it is first asked for. At the sample rate of Opus where the browser takes it: read `sampleRate`. */
export function audioContext() {
  if (shared && shared.state !== 'closed') return shared;
  shared = makeContext();
  resumeOnGesture(shared);
  return shared;
}

/**
 * What a microphone gives. Older Firefox connects it with a context of the same sample rate alone: there, another context captures.
 * @param {MediaStream} stream
 * @returns {MediaStreamAudioSourceNode}
 */
export function sourceOf(stream) {
  try {
    return audioContext().createMediaStreamSource(stream);
  } catch (error) {
    if (!(error instanceof DOMException) || error.name !== 'NotSupportedError') throw error;
    return deviceContext().createMediaStreamSource(stream);
  }
}

function deviceContext() {
  if (devices && devices.state !== 'closed') return devices;
  devices = new AudioContext({ latencyHint: 'interactive' });
  resumeOnGesture(devices);
  return devices;
}

/** Whether it would be heard now. */
export function isAudioRunning() {
  return shared?.state === 'running';
}

/** How long what is rendered takes to the ear, in milliseconds, as far as it is known. */
export function outputMs(userAgent = navigator.userAgent) {
  const context = audioContext();
  const outputLatencyMs = MUST_NOT_BE_ASKED.test(userAgent) ? UNASKED_OUTPUT_MS : (context.outputLatency ?? 0) * 1000;
  return outputLatencyMs + context.baseLatency * 1000;
}

/** Lets it run. Best called while a click is being handled. @returns {Promise<boolean>} whether it does; it may later, after a gesture */
export async function resumeAudio() {
  const context = audioContext();
  if (context.state === 'running') return true;
  // Without permission the promise of `resume` stays open until there is a gesture.
  const refused = new Promise((resolve) => setTimeout(resolve, RESUME_MS));
  await Promise.race([context.resume().catch(() => {}), refused]);
  return isAudioRunning();
}

function makeContext() {
  try {
    return new AudioContext({ sampleRate: OPUS_SAMPLE_RATE, latencyHint: 'interactive' });
  } catch {
    return new AudioContext({ latencyHint: 'interactive' });
  }
}

/** @param {AudioContext} context */
function resumeOnGesture(context) {
  const resume = () => { if (users.size > 0) void context.resume().catch(() => {}); };
  const again = resumeAgain(context, resume);
  const wait = () => {
    for (const gesture of GESTURES) {
      if (context.state === 'running') removeEventListener(gesture, resume, true);
      else addEventListener(gesture, resume, true);
    }
    again();
  };
  // A telephone call, a change of the speaker or an error of it suspends it again. Once allowed, it may go on without a gesture in most browsers.
  context.addEventListener('statechange', wait);
  wait();
}

/**
 * Makes what is to be called for each new state of a context that a person has let run: it is resumed until it runs again.
 * @param {AudioContext} context @param {() => void} resume
 */
function resumeAgain(context, resume) {
  let [hasRun, ranSinceMs, pauseMs] = [false, 0, AGAIN_MS.least];
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const wait = () => {
    timer = setTimeout(() => {
      pauseMs = Math.min(pauseMs * 2, AGAIN_MS.most);
      resume();
      if (context.state !== 'running' && context.state !== 'closed' && users.size > 0) wait();
    }, pauseMs);
  };
  return () => {
    clearTimeout(timer);
    if (context.state === 'running') {
      [hasRun, ranSinceMs] = [true, performance.now()];
    } else if (hasRun && users.size > 0) {
      if (performance.now() - ranSinceMs >= AGAIN_MS.most) pauseMs = AGAIN_MS.least;
      wait();
    }
  };
}
