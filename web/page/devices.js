/** The choice of camera, microphone and loudspeaker. */
import { Room } from '../sdk/tertulia.js';
import { element } from './element.js';
import { choices, choose } from './preferences.js';
import { problemOf } from './problems.js';
import { toast } from './toasts.js';

/** @typedef {import('./own-media.js').OwnMedia} OwnMedia */
/** @typedef {'camera' | 'microphone' | 'speaker'} Kind */

/** @type {readonly { kind: Kind, list: MediaDeviceKind, label: string }[]} */
const KINDS = [
  { kind: 'camera', list: 'videoinput', label: 'Camera' },
  { kind: 'microphone', list: 'audioinput', label: 'Microphone' },
  { kind: 'speaker', list: 'audiooutput', label: 'Loudspeaker' },
];

/** What this browser can do. @type {ReturnType<typeof Room.checkSupport> | undefined} */
let support;

/**
 * Fills `place` with one choice for each kind of device that there is. `prefix` keeps test ids apart.
 * @param {HTMLElement} place
 * @param {string} prefix
 * @param {OwnMedia} media
 * @param {(deviceId: string) => void} useSpeaker
 * @returns {() => Promise<void>} fills them again, after devices came, went or were allowed
 */
export function showDevices(place, prefix, media, useSpeaker) {
  const rows = KINDS.map(({ kind, list, label }) => {
    const select = element('select', '');
    select.id = select.dataset.testid = `${prefix}-${kind}`;
    select.onchange = () => {
      if (kind !== 'speaker') return void media.use(kind, select.value).catch((error) => {
        toast(problemOf(kind, error).join(' '), 'problem');
        void fill();
      });
      choose({ speaker: select.value });
      useSpeaker(select.value);
    };
    const name = element('label', '', label);
    name.htmlFor = select.id;
    const row = element('div', 'device', name, select);
    row.hidden = true;
    return { kind, list, select, row };
  });
  place.replaceChildren(...rows.map(({ row }) => row));
  const fill = async () => {
    const { speakerChoice } = await (support ??= Room.checkSupport());
    const devices = await Room.getLocalDevices().catch(() => /** @type {MediaDeviceInfo[]} */ ([]));
    for (const { kind, list, select, row } of rows) {
      const known = kind === 'speaker' && !speakerChoice ? [] : devices.filter((device) => device.kind === list && device.deviceId !== '');
      row.hidden = known.length === 0;
      select.replaceChildren(...known.map(({ deviceId, label }, at) => new Option(label || `Device ${at + 1}`, deviceId)));
      const used = kind === 'speaker' ? choices.speaker : media.track(kind)?.deviceId ?? choices[kind];
      if (known.some(({ deviceId }) => deviceId === used)) select.value = used;
    }
  };
  return fill;
}
