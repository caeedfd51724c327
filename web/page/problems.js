/** What to do about a camera, a microphone or an address that does not work, in words. */
import { button, element } from './element.js';
import { roomOfPath } from './address.js';

/** @typedef {import('../sdk/tertulia.js').TertuliaError} TertuliaError */
/** @typedef {import('./own-media.js').Device} Device */
/** @typedef {'microphone' | 'camera' | 'screen' | string} Source */

const NAMES = /** @type {Record<string, string>} */ ({ microphone: 'microphone', camera: 'camera', screen: 'screen', screenAudio: 'sound of the screen' });

/** What is wrong, and what to do, by the code. @type {Record<string, (name: string) => [string, string]>} */
const SENTENCES = {
  device_denied: (name) => [`The ${name} is not allowed.`, `Click the sign beside the address, allow the ${name}, and try again.`],
  device_missing: (name) => [`No ${name} was found.`, 'Plug one in and try again, or go on without.'],
  device_busy: (name) => [`Another program uses the ${name}.`, 'Close that program and try again.'],
  device_lost: (name) => [`The ${name} was unplugged.`, 'Plug it in again, or choose another one in the settings.'],
  codec_unsupported: (name) => [`This browser cannot send your ${name}.`, 'You can still see and hear the others. Chrome, Edge and Firefox can.'],
  codec_failed: (name) => [`Sending your ${name} failed.`, 'The meeting goes on. Switch it on again to try once more.'],
};

/** @param {Source} source @param {TertuliaError} error @returns {[string, string]} what is wrong, and what to do */
export function problemOf(source, { code, message }) {
  const name = NAMES[source] ?? source;
  return SENTENCES[code]?.(name) ?? [`The ${name} does not work.`, message];
}

/**
 * What is wrong with one's devices; the same with both is said once.
 * @param {ReadonlyMap<Device, TertuliaError>} problems
 * @returns {{ code: string, title: string, text: string }[]}
 */
export function problemsOf(problems) {
  const [one, other] = [...problems];
  if (other && one[1].code === other[1].code && SENTENCES[one[1].code]) {
    const [title, text] = SENTENCES[one[1].code]('camera and microphone');
    return [{ code: one[1].code, title: plural(title), text }];
  }
  return [...problems].map(([device, error]) => {
    const [title, text] = problemOf(device, error);
    return { code: error.code, title, text };
  });
}

/** @param {string} sentence */
function plural(sentence) {
  return sentence.replace('microphone is', 'microphone are').replace('microphone was', 'microphone were').replace('No camera and', 'No camera and no').replace('microphone were found', 'microphone were found');
}

/** Whether the browser hides devices and codecs from this page because its address is not secure. */
export function isInsecure() {
  return !isSecureContext;
}

/** The address on the same relay where the browser shows its devices. @returns {Promise<URL | null>} `null`: the relay has none */
export async function secureAddress() {
  try {
    const { webtransport: port } = await (await fetch('/relay.json', { cache: 'no-store' })).json();
    if (!Number.isInteger(port)) return null;
    return new URL(`https://${location.hostname}:${port}${location.pathname}${location.search}${location.hash}`);
  } catch {
    return null;
  }
}

/** Says which address to use instead of this one. @param {HTMLElement} place */
export async function showInsecure(place) {
  const address = await secureAddress();
  place.hidden = false;
  place.dataset.code = 'insecure_page';
  const title = element('strong', '', 'This address hides your camera and microphone.');
  if (!address) return place.replaceChildren(title, ' Browsers show them on https addresses and on localhost alone. You can join and chat.');
  const link = element('a', '', address.href);
  link.href = address.href;
  link.dataset.testid = 'insecure';
  const why = roomOfPath(location.pathname) ? 'Browsers show them on secure addresses alone. Open this one instead:' : 'Browsers show them on secure addresses alone. Start here instead:';
  const warning = element('p', 'hint', 'The browser may warn that it does not know this relay: that is so for relays without a public certificate. Go on to the page.');
  place.replaceChildren(title, ` ${why} `, link, warning);
}

/**
 * @param {HTMLElement} place
 * @param {{ code: string, title: string, text: string }[]} found
 * @param {() => void} retry
 */
export function showProblems(place, found, retry) {
  place.hidden = found.length === 0;
  place.dataset.code = found[0]?.code ?? '';
  if (found.length === 0) return place.replaceChildren();
  const again = button('plain', 'Try again');
  again.onclick = retry;
  place.replaceChildren(...found.map(({ title, text }) => element('p', '', element('strong', '', title), ` ${text}`)), again);
}
