/** The bar of one's own microphone, camera and screen. */
import { find, useIcon } from './element.js';
import { DEVICES } from './own-media.js';
import { isInsecure, whyHidden } from './insecure.js';
import { problemOf } from './problems.js';
import { choose } from './preferences.js';
import { TertuliaError } from '../sdk/tertulia.js';

/** @typedef {import('../sdk/tertulia.js').Room} Room */
/** @typedef {import('./own-media.js').OwnMedia} OwnMedia */
/** @typedef {import('./own-media.js').Device} Device */

const NAMES = { microphone: 'Microphone', camera: 'Camera' };

/** What the SDK cannot do without this, as in Firefox: take frames of a screen while nobody looks at the page. */
const PROCESSOR = 'MediaStreamTrackProcessor';
const PAUSES = 'Keep this page in sight, as in a window of its own: while another tab covers it, this browser pauses the screen that you share.';

/** Ends what the controls of the meeting before listen to. */
let endChanges = () => {};

/** @param {Room} room @param {OwnMedia} media @param {(text: string, kind?: 'problem') => void} toast */
export function showControls(room, media, toast) {
  const screen = find('toggle-screen', HTMLButtonElement);
  screen.hidden = !navigator.mediaDevices?.getDisplayMedia;
  const show = () => {
    for (const device of DEVICES) showDevice(room, media, device);
    const isShared = room.localParticipant.tracks.has('screen');
    screen.ariaPressed = String(isShared);
    screen.title = isShared ? 'Stop sharing your screen' : 'Share your screen';
    screen.disabled = !mayPublish(room, 'screen') || room.state !== 'connected';
    useIcon(screen, isShared ? 'screen-off' : 'screen');
  };
  for (const device of DEVICES) find(`toggle-${device}`, HTMLButtonElement).onclick = () => void toggle(media, device);
  screen.onclick = () => void share(room, !room.localParticipant.tracks.has('screen'), toast).finally(show);
  for (const type of /** @type {const} */ (['localTrackPublished', 'localTrackUnpublished', 'localTrackMuted', 'stateChanged'])) room.on(type, show);
  const tell = tellProblems(media, toast);
  endChanges();
  endChanges = media.onChange(() => {
    show();
    tell();
  });
  show();
}

/** What is wrong already was told before the meeting. @param {OwnMedia} media @param {(text: string, kind?: 'problem') => void} toast @returns {() => void} tells what is wrong since the last time */
function tellProblems(media, toast) {
  let told = new Map(media.problems);
  return () => {
    for (const [device, problem] of media.problems) {
      if (told.get(device) !== problem) toast(problemOf(device, problem).join(' '), 'problem');
    }
    told = new Map(media.problems);
  };
}

/** @param {Room} room @param {OwnMedia} media @param {Device} device */
function showDevice(room, media, device) {
  const control = find(`toggle-${device}`, HTMLButtonElement);
  const isOn = media.isOn(device);
  const may = mayPublish(room, device);
  const problem = media.problems.get(device);
  control.ariaPressed = String(isOn);
  control.ariaBusy = String(media.isBusy(device));
  control.ariaLabel = problem ? `${NAMES[device]}: ${problemOf(device, problem)[0]}` : NAMES[device];
  control.dataset.problem = String(problem !== undefined);
  // A device that is hidden by the browser, or that a token forbids, cannot be switched on.
  control.disabled = !may || isInsecure();
  control.title = !may ? `Your access token does not allow a ${device}` : isInsecure() ? whyHidden(device) : `${isOn ? 'Switch off' : 'Switch on'} your ${device}`;
  useIcon(control, isOn ? device : `${device}-off`);
}

/** @param {Room} room @param {'microphone' | 'camera' | 'screen'} source */
function mayPublish({ permissions }, source) {
  return permissions?.publish.includes(source) !== false;
}

/** @param {OwnMedia} media @param {Device} device */
async function toggle(media, device) {
  const on = !media.isOn(device);
  choose({ [`${device}On`]: on });
  await media.set(device, on);
}

/** @param {Room} room @param {boolean} on @param {(text: string, kind?: 'problem') => void} toast */
async function share(room, on, toast) {
  try {
    await room.localParticipant.setScreenShareEnabled(on);
    if (on && !(PROCESSOR in globalThis)) toast(PAUSES, 'problem');
  } catch (error) {
    const known = error instanceof TertuliaError ? error : new TertuliaError('screen_failed', 'Try again, or share a window instead.', { cause: error });
    // Closing the browser's choice is an answer, not a mistake.
    if (known.code !== 'screen_cancelled') toast(problemOf('screen', known).join(' '), 'problem');
  }
}
