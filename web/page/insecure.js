/** A page whose address is not secure: browsers hide from it what makes a meeting, all but the chat. */
import { element } from './element.js';
import { relayDescription } from './relay.js';

/** What is said of it on each screen, and what the link to the other address does there. */
const WORDS = /** @type {const} */ ({
  landing: ['This address hides your camera and microphone.', 'Browsers show them on secure addresses alone. Start here instead:'],
  prejoin: ['This address hides your camera and microphone.', 'Browsers show them on secure addresses alone. Open this one instead:'],
  meeting: ['Nobody can be seen or heard at this address, neither you nor the others.', 'The chat works. For the rest browsers ask for a secure address:'],
});
const NONE = 'Browsers show them on https addresses and on localhost alone. You can join and chat.';
const WARNING = 'The browser may warn that it does not know this relay: that is so for relays without a public certificate. Go on to the page.';

/** Whether the browser hides devices and codecs from this page because its address is not secure. */
export function isInsecure() {
  return !isSecureContext;
}

/** Why a device cannot be switched on here. @param {'microphone' | 'camera'} device */
export function whyHidden(device) {
  return `Browsers hide the ${device} at this address: it is not secure`;
}

/** The address on the same relay where the browser shows its devices. @returns {Promise<URL | null>} `null`: the relay has none */
async function secureAddress() {
  const { webtransport: port } = await relayDescription();
  return port === null ? null : new URL(`https://${location.hostname}:${port}${location.pathname}${location.search}${location.hash}`);
}

/** Says, where it is so, which address to use instead of this one. @param {keyof typeof WORDS} screen @param {HTMLElement} place */
export async function showInsecure(screen, place) {
  if (!isInsecure()) return;
  const address = await secureAddress();
  const [title, words] = WORDS[screen];
  place.hidden = false;
  place.dataset.code = 'insecure_page';
  if (!address) return place.replaceChildren(element('strong', '', title), ` ${NONE}`);
  const link = element('a', '', address.href);
  link.href = address.href;
  link.dataset.testid = 'insecure';
  place.replaceChildren(element('strong', '', title), ` ${words} `, link, element('p', 'hint', WARNING));
}
