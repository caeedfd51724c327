/** Where one starts a meeting or goes to one. */
import { placeOfText } from './address.js';
import { canEncrypt, newKey } from './encryption.js';
import { find } from './element.js';
import { rememberName, rememberedName } from './preferences.js';
import { isOfRelay } from './relay.js';
import { newRoomName } from './room-name.js';

/** @typedef {import('./address.js').Place} Place */

/** @param {(place: Place) => void} go */
export function showLanding(go) {
  const name = find('host-name', HTMLInputElement);
  const link = find('meeting-link', HTMLInputElement);
  const problem = find('link-problem', HTMLParagraphElement);
  const encrypted = find('new-encrypted-meeting', HTMLButtonElement);
  const leave = (/** @type {Place} */ place) => {
    rememberName(name.value.trim());
    go({ ...place, search: place.search || location.search });
  };
  const start = (/** @type {string} */ hash) => leave({ room: newRoomName(), search: '', hash });
  name.value = rememberedName();
  find('start-form', HTMLFormElement).onsubmit = (event) => {
    event.preventDefault();
    start('');
  };
  encrypted.onclick = () => start(`#key=${newKey()}`);
  if (!canEncrypt()) {
    encrypted.disabled = true;
    find('encrypted-hint', HTMLParagraphElement).textContent = 'Browsers encrypt on secure addresses alone: https, or localhost.';
  }
  find('link-form', HTMLFormElement).onsubmit = (event) => {
    event.preventDefault();
    const place = placeOfText(link.value, isOfRelay);
    problem.textContent = place ? '' : 'That is no link of this relay and no room name. Names have letters, digits, - and _.';
    if (place) leave(place);
    else link.focus();
  };
}
