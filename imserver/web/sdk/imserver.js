/**
 * The JavaScript client of imserver, for browsers and Node 20 or newer. See docs/javascript.md.
 *
 *     import { openClient } from './sdk/imserver.js';
 *     const client = await openClient({
 *       url: 'http://127.0.0.1:8080',
 *       login: { user_id: 'alice' },
 *       take: ({ events }) => console.log(events),
 *     });
 *     await client.send({ receiver_id: 'bob', content: 'hello' });
 * @module
 */

export { Client, newId, openClient } from './client.js';
export { ClientError, Closed, ConnectionLost, Refused, isPassing } from './errors.js';
export { OPERATIONS } from './operations.js';
export { idOf, placeOf, versionOf } from './places.js';
