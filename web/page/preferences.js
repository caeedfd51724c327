/** What the page remembers on this device, where it is allowed to. */

const NAME = 'tertulia.name';
const CHOICES = 'tertulia.choices';

/**
 * @typedef {object} Choices
 * @property {string} camera device id; empty: the browser's choice
 * @property {string} microphone
 * @property {string} speaker
 * @property {boolean} cameraOn whether one comes in with the camera on
 * @property {boolean} microphoneOn
 * @property {number} lines height of the picture that is sent; 0: the relay's usual one
 * @property {boolean} noiseSuppression
 * @property {boolean} echoCancellation
 * @property {boolean} autoGainControl
 * @property {boolean} shortcuts whether single keys do things
 */

/** @type {Choices} */
const USUAL = {
  camera: '', microphone: '', speaker: '', cameraOn: true, microphoneOn: true, lines: 0,
  noiseSuppression: true, echoCancellation: true, autoGainControl: true, shortcuts: true,
};

/** What was chosen, now and before. @type {Readonly<Choices>} */
export const choices = { ...USUAL, ...valid(parse(storage((store) => store.getItem(CHOICES)))) };

/** @param {Partial<Choices>} change */
export function choose(change) {
  Object.assign(choices, change);
  storage((store) => store.setItem(CHOICES, JSON.stringify(choices)));
}

export function rememberedName() {
  return storage((store) => store.getItem(NAME)) ?? '';
}

/** @param {string} name */
export function rememberName(name) {
  storage((store) => store.setItem(NAME, name));
}

/** What is of the right kind in something that was stored. @param {Record<string, unknown>} stored @returns {Partial<Choices>} */
function valid(stored) {
  return Object.fromEntries(Object.entries(USUAL).filter(([key, usual]) => typeof stored[key] === typeof usual).map(([key]) => [key, stored[key]]));
}

/** @param {string | null} text @returns {Record<string, unknown>} */
function parse(text) {
  try {
    return JSON.parse(text ?? '{}') ?? {};
  } catch {
    return {};
  }
}

/** Storage may be forbidden or full: then nothing is remembered. @template T @param {(store: Storage) => T} act @returns {T | null} */
function storage(act) {
  try {
    return act(localStorage);
  } catch {
    return null;
  }
}
