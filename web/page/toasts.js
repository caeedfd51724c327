/** What happens in passing: said for a moment over the pictures. */
import { button, element, find, icon } from './element.js';

/** How long it is said, in milliseconds; what asks for something to be done stays longer. */
const TOAST_MS = 5000;
const PROBLEM_MS = 12_000;

/** As many at a time. */
const TOASTS_MAX = 4;

/** @param {string} text @param {'problem' | 'news'} [kind] */
export function toast(text, kind = 'news') {
  const place = find('toasts', HTMLDivElement);
  const close = button('plain square', icon('close'));
  close.ariaLabel = 'Dismiss';
  const node = element('div', `toast ${kind}`, element('p', '', text), close);
  node.dataset.testid = 'toast';
  const remove = () => node.remove();
  close.onclick = remove;
  place.append(node);
  while (place.children.length > TOASTS_MAX) place.firstElementChild?.remove();
  setTimeout(remove, kind === 'problem' ? PROBLEM_MS : TOAST_MS);
}

export function clearToasts() {
  find('toasts', HTMLDivElement).replaceChildren();
}
