/**
 * Tertulia in the browser: `import { Room } from 'https://relay.example/sdk/tertulia.js'`.
 *
 * ```js
 * const room = await Room.connect('https://relay.example/r/standup', { name: 'Ana' });
 * room.on('chatMessage', ({ fromName, text }) => console.log(fromName, text));
 * await room.chat.send('Hello');
 * ```
 */
export { TertuliaError } from './error.js';
export { newMessageId } from './chat.js';
export { newSecret } from './media/encryption.js';
export { LocalTrack, createLocalTrack } from './media/send/local-track.js';
export { RemoteTrack } from './media/receive/remote-track.js';
export { LocalParticipant, RemoteParticipant } from './participants.js';
export { Room } from './room.js';

/** @typedef {import('./error.js').ErrorCode} ErrorCode */
/** @typedef {import('./transcript.js').ChatMessage} ChatMessage */
/** @typedef {import('./media/send/devices.js').CaptureOptions} CaptureOptions */
/** @typedef {import('./media/send/delivery.js').Delivery} Delivery */
/** @typedef {import('./media/send/delivery.js').Deliveries} Deliveries */
/** @typedef {import('./media/send/devices.js').LocalDevice} LocalDevice */
/** @typedef {import('./media/send/devices.js').TrackSource} TrackSource */
/** @typedef {import('./media/receive/remote-track.js').TrackState} TrackState */
/** @typedef {import('./statistics.js').RoomStatistics} RoomStatistics */
/** @typedef {import('./support.js').Support} Support */
/** @typedef {import('./room.js').Ending} Ending */
/** @typedef {import('./room.js').Interruption} Interruption */
/** @typedef {import('./room.js').Permissions} Permissions */
/** @typedef {import('./room.js').RoomEvents} RoomEvents */
/** @typedef {import('./room.js').RoomOptions} RoomOptions */
/** @typedef {import('./room.js').RoomState} RoomState */
