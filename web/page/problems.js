/** What to do about a camera or a microphone that does not work, in words. */
import { button, element } from './element.js';

/** @typedef {import('../sdk/tertulia.js').TertuliaError} TertuliaError */
/** @typedef {import('./own-media.js').Device} Device */
/** @typedef {'microphone' | 'camera' | 'screen' | string} Source */

const NAMES = /** @type {Record<string, string>} */ ({ microphone: 'microphone', camera: 'camera', screen: 'screen', screenAudio: 'sound of the screen', speaker: 'loudspeaker' });

/** What is wrong, and what to do, by the code. @type {Record<string, (name: string) => [string, string]>} */
const SENTENCES = {
  device_denied: (name) => [`The ${name} is not allowed.`, `Click the sign beside the address, allow the ${name}, and try again.`],
  device_missing: (name) => [`No ${name} was found.`, 'Plug one in and try again, or go on without.'],
  device_busy: (name) => [`Another program uses the ${name}.`, 'Close that program and try again.'],
  device_lost: (name) => [`The ${name} was unplugged.`, 'Plug it in again, or choose another one.'],
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
  return sentence.replace('microphone is', 'microphone are').replace('microphone was', 'microphone were').replace('No camera and', 'No camera and no');
}

/** What places say. @type {WeakMap<HTMLElement, string>} */
const said = new WeakMap();

/**
 * Says what is wrong, if it is something else than before: what is written again, screen readers say again.
 * @param {HTMLElement} place
 * @param {{ code: string, title: string, text: string }[]} found
 * @param {() => void} retry
 */
export function showProblems(place, found, retry) {
  const words = JSON.stringify(found);
  if (said.get(place) === words) return;
  said.set(place, words);
  place.hidden = found.length === 0;
  place.dataset.code = found[0]?.code ?? '';
  if (found.length === 0) return place.replaceChildren();
  const text = place.querySelector('.found') ?? element('div', 'found');
  text.replaceChildren(...found.map(({ title, text }) => element('p', '', element('strong', '', title), ` ${text}`)));
  // What has the focus stays where it is.
  if (place.contains(text)) return;
  const again = button('plain', 'Try again');
  again.onclick = retry;
  place.replaceChildren(text, again);
}
