/** What this browser can do in a meeting, and what to do about what it cannot. */

/**
 * @typedef {object} Support
 * @property {boolean} webTransport otherwise everything goes over WebSocket
 * @property {boolean} devices whether a camera and a microphone can be asked for
 * @property {boolean} encoding whether camera and microphone can be sent
 * @property {boolean} decoding whether others can be seen and heard
 * @property {boolean} screenShare
 * @property {boolean} speakerChoice whether another speaker than the usual one can be chosen
 * @property {{ code: string, message: string }[]} problems sentences for people
 */

const VIDEO = { codec: 'vp8', width: 640, height: 360 };
const AUDIO = { codec: 'opus', sampleRate: 48_000, numberOfChannels: 1 };

/** @returns {Promise<Support>} */
export async function checkSupport() {
  const support = {
    webTransport: 'WebTransport' in globalThis,
    devices: Boolean(globalThis.navigator?.mediaDevices?.getUserMedia),
    encoding: await areAll(supports('VideoEncoder', { ...VIDEO, bitrate: 500_000 }), supports('AudioEncoder', AUDIO)),
    decoding: await areAll(supports('VideoDecoder', VIDEO), supports('AudioDecoder', AUDIO)),
    screenShare: Boolean(globalThis.navigator?.mediaDevices?.getDisplayMedia),
    speakerChoice: 'AudioContext' in globalThis && 'setSinkId' in AudioContext.prototype,
  };
  return { ...support, problems: problemsOf(support) };
}

/** @param {Omit<Support, 'problems'>} support */
function problemsOf({ devices, encoding, decoding }) {
  if (globalThis.isSecureContext === false) {
    return [{ code: 'insecure_page', message: 'Browsers hide camera, microphone and WebTransport from pages that are not secure. Open this page by its https:// address, or on localhost.' }];
  }
  const problems = [];
  if (!devices) problems.push({ code: 'device_missing', message: 'This browser gives no camera and no microphone. You can still watch, listen and write.' });
  if (!decoding) problems.push({ code: 'codec_unsupported', message: 'This browser cannot play the others. Use a current Chrome, Edge, Firefox or Safari; the chat works here too.' });
  else if (!encoding) problems.push({ code: 'codec_unsupported', message: 'This browser cannot send camera or microphone. You can still watch, listen and write.' });
  return problems;
}

/** @param {'VideoEncoder' | 'VideoDecoder' | 'AudioEncoder' | 'AudioDecoder'} name @param {any} config */
async function supports(name, config) {
  try {
    const { supported } = await /** @type {any} */ (globalThis)[name].isConfigSupported(config);
    return supported === true;
  } catch {
    return false;
  }
}

/** @param {Promise<boolean>[]} all */
async function areAll(...all) {
  return (await Promise.all(all)).every(Boolean);
}
