/** Where one says a name, and a token if the relay asks for one. */
import { TertuliaError } from '../sdk/tertulia.js';
import { find } from './element.js';
import { rememberName, rememberedName } from './preferences.js';
import { forgetToken, rememberToken, takeTokenOfAddress } from './tab.js';

/** Codes that another token can mend. */
const TOKEN_CODES = new Set(['token_missing', 'token_invalid', 'token_expired']);

/** @param {unknown} error */
export function asksForToken(error) {
  return error instanceof TertuliaError && TOKEN_CODES.has(error.code);
}

/**
 * @param {string} roomName
 * @param {(wish: { name: string, room: string }) => void} join
 * @returns {(error: unknown) => void} says why joining did not work
 */
export function showLanding(roomName, join) {
  const [name, room, token] = ['name', 'room', 'token'].map((id) => find(id, HTMLInputElement));
  const button = find('join', HTMLButtonElement);
  const problem = find('join-error', HTMLParagraphElement);
  name.value = rememberedName();
  room.value = roomName;
  room.onchange = () => (room.value = room.value.trim().replace(/\s+/g, '-'));
  find('join-form', HTMLFormElement).onsubmit = (event) => {
    event.preventDefault();
    rememberName(name.value.trim());
    if (token.value.trim()) rememberToken(token.value.trim());
    history.replaceState(null, '', `/r/${room.value}${location.search}`);
    problem.textContent = '';
    busy(button, true);
    join({ name: name.value.trim(), room: room.value });
  };
  // A link with a token that is opened in a tab which has the page already only changes the fragment.
  addEventListener('hashchange', () => { token.value = takeTokenOfAddress() ?? token.value; });
  (name.value ? button : name).focus();
  return (error) => {
    busy(button, false);
    problem.textContent = error instanceof Error ? error.message : '';
    if (!asksForToken(error)) return button.focus();
    forgetToken();
    token.value = '';
    find('token-field', HTMLDivElement).hidden = false;
    token.required = true;
    token.focus();
  };
}

/** @param {HTMLButtonElement} button @param {boolean} isBusy */
function busy(button, isBusy) {
  button.disabled = isBusy;
  button.textContent = isBusy ? 'Joining…' : 'Join';
}
