/** What the relay says of itself to its own page. */

/**
 * @typedef {object} Description
 * @property {number | null} webtransport the port where it is served over https too
 * @property {boolean} vouchedFor whether an authority stands for its certificate
 * @property {URL[] | null} addresses where others on the network find it, the most likely first; `null`: not told, as to all but pages of its own machine
 */

/** A question is given up after so long, in milliseconds. */
const ASK_MS = 2000;

/** @type {Description} */
const UNKNOWN = { webtransport: null, vouchedFor: true, addresses: null };

/** What it said last. @type {Description} */
let last = UNKNOWN;
/** Until the first question is answered, or given up. @type {Promise<void> | null} */
let first = null;

/** Asks it, so that the answer is there when somebody clicks: browsers let a click copy only for a moment. */
export function askRelay() {
  const asked = fetch('/relay.json', { cache: 'no-store', signal: AbortSignal.timeout(ASK_MS) });
  const answered = asked.then((response) => response.json()).then((said) => void (last = read(said))).catch(() => {});
  first ??= answered;
}

/** What it said last, once there can be something. */
export async function relayDescription() {
  await first;
  return last;
}

/** Whether it is a name or an address of the computer on which the browser runs. @param {string} hostname as of a URL */
export function isOwnComputer(hostname) {
  return hostname === 'localhost' || hostname.endsWith('.localhost') || hostname === '[::1]' || /^127(\.\d+){3}$/.test(hostname);
}

/** Whether the page, or others, reach this relay there, as far as is known. @param {string} hostname */
export function isOfRelay(hostname) {
  return hostname === location.hostname || (last.addresses ?? []).some((address) => address.hostname === hostname);
}

/** @param {Record<string, unknown>} said @returns {Description} */
export function read({ webtransport, certificateSha256, addresses }) {
  return {
    webtransport: typeof webtransport === 'number' && Number.isInteger(webtransport) ? webtransport : null,
    vouchedFor: typeof certificateSha256 !== 'string',
    addresses: Array.isArray(addresses) ? addresses.flatMap((address) => URL.parse(address) ?? []).filter(({ protocol }) => protocol === 'https:') : null,
  };
}
