/** What happens in passing: said for a moment over the pictures, or in the settings while they cover them. */
import { button, element, find, icon } from './element.js';

/** How long it is said, in milliseconds; what asks for something to be done stays longer, and what is there to be copied until it is dismissed. */
const TOAST_MS = 5000;
const PROBLEM_MS = 12_000;

/** As many at a time; one of them can be lasting. */
const TOASTS_MAX = 4;

/** @param {string} text @param {'problem' | 'news' | 'lasting'} [kind] */
export function toast(text, kind = 'news') {
  const place = find(find('settings', HTMLDialogElement).open ? 'settings-toasts' : 'toasts', HTMLDivElement);
  const close = button('plain square', icon('close'));
  close.ariaLabel = 'Dismiss';
  const node = element('div', `toast ${kind}`, element('p', '', text), close);
  node.dataset.testid = 'toast';
  const remove = () => node.remove();
  close.onclick = remove;
  if (kind === 'lasting') place.querySelector('.toast.lasting')?.remove();
  place.append(node);
  while (place.children.length > TOASTS_MAX) place.querySelector('.toast:not(.lasting)')?.remove();
  if (kind !== 'lasting') setTimeout(remove, kind === 'problem' ? PROBLEM_MS : TOAST_MS);
}

/** The settings are closed: what they said last is said on over the pictures. */
export function bringToasts() {
  find('toasts', HTMLDivElement).append(...find('settings-toasts', HTMLDivElement).children);
}

export function clearToasts() {
  find('toasts', HTMLDivElement).replaceChildren();
}
