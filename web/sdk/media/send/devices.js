/** Cameras, microphones and screens: which there are, how one is opened, and what to do when that fails. */
import { TertuliaError } from '../../error.js';

/** @typedef {'microphone' | 'camera' | 'screen' | 'screenAudio' | 'other'} TrackSource */
/** @typedef {{ deviceId: string, groupId: string, kind: MediaDeviceKind, label: string }} LocalDevice labels are empty until the person has allowed a device */

/**
 * @typedef {object} CaptureOptions
 * @property {string} [deviceId] the preferred device
 * @property {number} [width] in pixels; 1280 unless said, 640 on a machine with two cores
 * @property {number} [height] in pixels; 720 unless said, 360 on a machine with two cores
 * @property {number} [frameRate] 30 unless said; 15 for a screen
 * @property {import('./delivery.js').Delivery | import('./delivery.js').Deliveries} [delivery] of video, of all frames or of each kind; keyframes of a
 *   screen travel on streams unless said, everything else as datagrams
 * @property {boolean} [music] a microphone that takes sound as it is, in stereo
 * @property {boolean} [echoCancellation] of a microphone; on unless said or music
 * @property {boolean} [noiseSuppression] of a microphone; on unless said or music
 * @property {boolean} [autoGainControl] of a microphone; on unless said or music
 */

/** With as few cores, an encoder of 1280x720 that has to share them takes longer than a frame lasts. */
const CORES_FEW = 2;
/** What a camera is asked for unless the program says otherwise. */
export const CAMERA = Object.freeze((globalThis.navigator?.hardwareConcurrency ?? 1) > CORES_FEW
  ? { width: 1280, height: 720, frameRate: 30 } : { width: 640, height: 360, frameRate: 30 });
/** A screen changes seldom, and what is on it has to be legible. */
export const SCREEN_FRAME_RATE = 15;
const SCREEN_SIZE = Object.freeze({ width: 1920, height: 1080 });

/** What people call them. @type {Readonly<Record<TrackSource | 'speaker', string>>} */
const NAMES = Object.freeze({ microphone: 'microphone', camera: 'camera', screen: 'screen', screenAudio: 'sound of the screen', speaker: 'loudspeaker', other: 'device' });

/** @param {MediaDeviceKind} [kind] left out: all @returns {Promise<LocalDevice[]>} */
export async function getLocalDevices(kind) {
  const all = await mediaDevices().enumerateDevices();
  // Before permission, browsers give one nameless device of each kind, or none.
  return all.filter((device) => device.deviceId !== '' && (kind === undefined || device.kind === kind))
    .map(({ deviceId, groupId, kind, label }) => ({ deviceId, groupId, kind, label }));
}

/** @param {() => void} changed a device came or went @returns {() => void} ends it */
export function watchDevices(changed) {
  const { mediaDevices } = globalThis.navigator ?? {};
  mediaDevices?.addEventListener('devicechange', changed);
  return () => mediaDevices?.removeEventListener('devicechange', changed);
}

/**
 * @param {'camera' | 'microphone'} source
 * @param {CaptureOptions} options
 * @param {{ isExact?: boolean }} [choice] `isExact`: this device or none
 * @returns {Promise<MediaStreamTrack>}
 */
export async function openDevice(source, options, { isExact = false } = {}) {
  const { deviceId: id } = options;
  const device = id ? { deviceId: isExact ? { exact: id } : { ideal: id } } : {};
  const constraints = source === 'camera' ? { video: { ...cameraConstraints(options), ...device } } : { audio: { ...microphoneConstraints(options), ...device } };
  try {
    const stream = await mediaDevices().getUserMedia(constraints);
    return stream.getTracks()[0];
  } catch (error) {
    throw deviceError(error, source);
  }
}

/** Asks for a screen, a window or a tab. @param {CaptureOptions} options @returns {Promise<MediaStreamTrack[]>} its picture, and its sound if there is any */
export async function openScreen({ frameRate = SCREEN_FRAME_RATE, width = SCREEN_SIZE.width, height = SCREEN_SIZE.height }) {
  try {
    const devices = mediaDevices();
    if (!devices.getDisplayMedia) throw new TertuliaError('screen_unsupported', 'This browser cannot share a screen. Use one on a computer.');
    const video = { frameRate: { max: frameRate }, width: { max: width }, height: { max: height } };
    const stream = await devices.getDisplayMedia({ video, audio: true });
    const [picture, ...sound] = [...stream.getVideoTracks(), ...stream.getAudioTracks()];
    picture.contentHint = 'text';
    return [picture, ...sound];
  } catch (error) {
    throw deviceError(error, 'screen');
  }
}

/** @param {unknown} error what the browser said @param {TrackSource} source @returns {TertuliaError} what to do about it */
export function deviceError(error, source) {
  if (error instanceof TertuliaError) return error;
  const name = error instanceof Error || error instanceof DOMException ? error.name : '';
  const device = NAMES[source];
  const told = (/** @type {import('../../error.js').ErrorCode} */ code, /** @type {string} */ message) => new TertuliaError(code, message, { cause: error });
  switch (name) {
    case 'NotAllowedError': case 'PermissionDeniedError':
      if (source === 'screen') return told('screen_cancelled', 'No screen was chosen. Share again and choose one; if nothing can be chosen, allow the browser to record the screen in the settings of the system.');
      return told('device_denied', `The ${device} is not allowed on this page. Allow it by the symbol beside the address, and in the settings of the system, and try again.`);
    case 'NotFoundError': case 'OverconstrainedError':
      return told('device_missing', `There is no such ${device}. Plug it in or choose another one, and try again.`);
    case 'NotReadableError': case 'AbortError': case 'TrackStartError':
      return told('device_busy', `The ${device} cannot be opened. Close other programs that use it, and try again.`);
    case 'SecurityError': return insecurePage();
    case 'InvalidStateError':
      return told('gesture_needed', `The ${device} can only be opened right after a click. Click again.`);
    default: return told('device_failed', `The ${device} cannot be opened. Try again, or choose another one.`);
  }
}

/** @param {TrackSource | 'speaker'} source @returns {TertuliaError} */
export function deviceLost(source) {
  if (source === 'speaker') return new TertuliaError('device_lost', 'The loudspeaker is gone. What the others say is heard where the browser chooses. Plug it in again or choose another one.');
  return new TertuliaError('device_lost', `The ${NAMES[source]} is gone. Plug it in again or choose another one, and turn it on.`);
}

/** What a device of a kind is the source of. @param {MediaDeviceKind} kind @returns {'camera' | 'microphone'} */
export function sourceOf(kind) {
  if (kind === 'videoinput') return 'camera';
  if (kind === 'audioinput') return 'microphone';
  throw new TertuliaError('device_kind', `There is no device of the kind "${kind}" here. Use "videoinput" or "audioinput".`);
}

/** @returns {MediaDevices} */
function mediaDevices() {
  const devices = globalThis.navigator?.mediaDevices;
  // Browsers hide them where others could read along.
  if (!devices) throw insecurePage();
  return devices;
}

function insecurePage() {
  return new TertuliaError('insecure_page', 'Camera and microphone are hidden because the address of this page is not secure. Open it over https:// or on localhost.');
}

/** @param {CaptureOptions} options @returns {MediaTrackConstraints} */
function cameraConstraints({ width = CAMERA.width, height = CAMERA.height, frameRate = CAMERA.frameRate }) {
  return { width: { ideal: width }, height: { ideal: height }, frameRate: { ideal: frameRate, max: Math.max(frameRate, CAMERA.frameRate) } };
}

/** @param {CaptureOptions} options @returns {MediaTrackConstraints} */
function microphoneConstraints({ music = false, echoCancellation = !music, noiseSuppression = !music, autoGainControl = !music }) {
  return { channelCount: { ideal: music ? 2 : 1 }, echoCancellation, noiseSuppression, autoGainControl };
}
