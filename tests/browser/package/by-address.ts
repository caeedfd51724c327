// A program that is bundled: the SDK comes from the relay, its types from the package.
import { Room, type RoomState } from 'https://relay.example/sdk/tertulia.js';

export const state = async (): Promise<RoomState> => (await Room.connect('https://relay.example/r/standup', { name: 'Ana' })).state;

// @ts-expect-error a state is not a number
export const wrong = async (): Promise<number> => (await Room.connect('https://relay.example/', { name: 'Ana' })).state;
