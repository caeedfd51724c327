/** The link that brings others to a room. A page that was opened on the relay's own computer is at an address that leads nobody else there. */
import { linkTo } from './address.js';
import { isOwnComputer, relayDescription } from './relay.js';
import { toast } from './toasts.js';

/** @typedef {import('./relay.js').Description} Description */
/** Where a link leads. @typedef {{ origin: string, hint: string }} Way */

const SEND = 'Send it to whom you want to see.';
/** Where they could go instead is not known: a proxy or a container can be in between, which others may reach. */
const HERE = 'It works on this computer only.';
const ALONE = 'It works on this computer only: others do not reach this relay.';
const WARNS = 'Their browsers will warn that nobody vouches for this relay; they can go on to the page.';
/** Authorities stand for names, and seldom for addresses. */
const MAY_WARN = 'Their browsers may warn about this address; they can go on to the page.';

/** The way that others have to the relay. @param {{ origin: string, hostname: string, isSecure: boolean }} page @param {Description} relay @returns {Way} */
export function wayForOthers({ origin, hostname, isSecure }, { webtransport, vouchedFor, addresses }) {
  if (isOwnComputer(hostname)) {
    if (addresses === null) return { origin, hint: HERE };
    return addresses.length === 0 ? { origin, hint: ALONE } : toSend(addresses[0].origin, vouchedFor);
  }
  // Where the browser hides devices from this page, it does so from theirs.
  if (!isSecure && webtransport !== null) return toSend(`https://${hostname}:${webtransport}`, vouchedFor);
  // A proxy can have another certificate than the relay.
  return toSend(origin, true);
}

/** To another computer. @param {string} origin @param {boolean} isVouchedFor @returns {Way} */
function toSend(origin, isVouchedFor) {
  const isAddress = /^https:\/\/(\[|\d+(\.\d+){3}(:|$))/.test(origin);
  const warning = !isVouchedFor ? WARNS : isAddress ? MAY_WARN : '';
  return { origin, hint: [SEND, warning].filter(Boolean).join(' ') };
}

/**
 * Copies the link to a room, and says so. Where the browser does not let the page copy, the link is shown for the person to do it.
 * @param {string} room @param {string | null} key
 */
export async function copyInvitation(room, key) {
  const page = { origin: location.origin, hostname: location.hostname, isSecure: isSecureContext };
  const { origin, hint } = wayForOthers(page, await relayDescription());
  const link = linkTo(origin, room, key);
  const copied = await navigator.clipboard?.writeText(link).then(() => true, () => false);
  if (copied) return toast(`Link copied${key ? ', with the key' : ''}. ${hint}`);
  toast(`The browser does not let the page copy this link. ${hint} ${link}`, 'lasting');
}
