/**
 * THE TABLE: every operation, and where each transport has it. `call` is derived from it.
 *
 * A row is: whether a WebSocket has it, then the REST method and path. A path's `{name}` is filled
 * from the request's field of that name; a path with `{place}` is that of a user or of a group,
 * whichever the request names.
 * @module
 */

/** @typedef {{ws: boolean, method?: string, path?: string}} Operation */

/**
 * @param {boolean} ws
 * @param {string} [rest] method and path
 * @returns {Operation}
 */
function row(ws, rest) {
  if (!rest) return { ws };
  const [method, path] = rest.split(' ');
  return { ws, method, path };
}

const MESSAGE = '/api/v1/messages/{message_id}';
const GROUP = '/api/v1/groups/{group_id}';
const MEMBER = `${GROUP}/members/{user_id}`;
const USER = '/api/v1/admin/users/{user_id}';

/** @type {Readonly<Record<string, Operation>>} */
export const OPERATIONS = Object.freeze({
  heartbeat: row(true),
  send_message: row(true, 'POST /api/v1/messages'),
  sync_offline: row(true, 'GET /api/v1/messages/offline'),
  get_message: row(true, `GET ${MESSAGE}`),
  ack: row(true, `POST ${MESSAGE}/ack`),
  edit_message: row(true, `PATCH ${MESSAGE}`),
  recall_message: row(true, `DELETE ${MESSAGE}`),
  list_edits: row(true, `GET ${MESSAGE}/edits`),
  add_reaction: row(true, `PUT ${MESSAGE}/reactions/{emoji}`),
  remove_reaction: row(true, `DELETE ${MESSAGE}/reactions/{emoji}`),
  pin_message: row(true, `PUT ${MESSAGE}/pin`),
  unpin_message: row(true, `DELETE ${MESSAGE}/pin`),
  list_pins: row(true, 'GET /api/v1/{place}/pins'),
  list_receipts: row(true, `GET ${MESSAGE}/receipts`),
  list_conversations: row(true, 'GET /api/v1/conversations'),
  get_conversation: row(true, 'GET /api/v1/{place}/conversation'),
  update_conversation: row(true, 'PATCH /api/v1/{place}/conversation'),
  mark_read: row(true, 'POST /api/v1/{place}/conversation/read'),
  get_history: row(true, 'GET /api/v1/{place}/messages'),
  search_messages: row(true, 'GET /api/v1/search'),
  typing: row(true),
  subscribe_presence: row(true),
  get_presence: row(true, 'GET /api/v1/presence'),
  get_profile: row(true, 'GET /api/v1/users/{user_id}'),
  get_profiles: row(true, 'GET /api/v1/users'),
  update_profile: row(true, 'PATCH /api/v1/me'),
  search_directory: row(true, 'GET /api/v1/directory'),
  block_user: row(true, 'PUT /api/v1/blocks/{user_id}'),
  unblock_user: row(true, 'DELETE /api/v1/blocks/{user_id}'),
  list_blocks: row(true, 'GET /api/v1/blocks'),
  create_group: row(true, 'POST /api/v1/groups'),
  get_group: row(true, `GET ${GROUP}`),
  get_members: row(true, `GET ${GROUP}/members`),
  join_group: row(true, `POST ${GROUP}/join`),
  leave_group: row(true, `POST ${GROUP}/leave`),
  list_groups: row(true, 'GET /api/v1/groups'),
  update_group: row(true, `PATCH ${GROUP}`),
  dissolve_group: row(true, `DELETE ${GROUP}`),
  add_members: row(true, `POST ${GROUP}/members`),
  remove_member: row(true, `DELETE ${MEMBER}`),
  set_role: row(true, `PUT ${MEMBER}`),
  transfer_group: row(true, `POST ${GROUP}/transfer`),
  invite: row(true, `POST ${GROUP}/invitations`),
  list_group_invitations: row(true, `GET ${GROUP}/invitations`),
  revoke_invitation: row(true, `DELETE ${GROUP}/invitations/{user_id}`),
  list_bans: row(true, `GET ${GROUP}/bans`),
  ban_member: row(true, `PUT ${GROUP}/bans/{user_id}`),
  unban_member: row(true, `DELETE ${GROUP}/bans/{user_id}`),
  list_invitations: row(true, 'GET /api/v1/invitations'),
  decline_invitation: row(true, 'DELETE /api/v1/invitations/{group_id}'),
  password_login: row(false, 'POST /api/v1/auth/login'),
  logout: row(true, 'POST /api/v1/auth/logout'),
  list_sessions: row(true, 'GET /api/v1/auth/sessions'),
  revoke_session: row(true, 'DELETE /api/v1/auth/sessions/{token_id}'),
  revoke_other_sessions: row(true, 'DELETE /api/v1/auth/sessions'),
  change_password: row(true, 'POST /api/v1/auth/password'),
  list_users: row(false, 'GET /api/v1/admin/users'),
  add_user: row(false, 'POST /api/v1/admin/users'),
  get_user: row(false, `GET ${USER}`),
  update_user: row(false, `PATCH ${USER}`),
  set_password: row(false, `PUT ${USER}/password`),
  list_user_sessions: row(false, `GET ${USER}/sessions`),
  revoke_user_session: row(false, `DELETE ${USER}/sessions/{token_id}`),
  revoke_user_sessions: row(false, `DELETE ${USER}/sessions`),
  disconnect_user: row(false, `POST ${USER}/disconnect`),
  read_audit: row(false, 'GET /api/v1/admin/audit'),
  health: row(false, 'GET /health'),
  ready: row(false, 'GET /ready'),
  stats: row(false, 'GET /api/v1/stats'),
});

/**
 * A request over REST: what is not in the path goes into the query, or into the body.
 * @param {Operation} operation
 * @param {Record<string, any>} request
 * @returns {{method: string, path: string, body: Record<string, any> | null}}
 */
export function restOf(operation, request) {
  const { method, path: pattern } = operation;
  if (!method || !pattern) throw new TypeError('this operation is for WebSockets only');
  const rest = { ...request };
  /** @param {string} name */
  const fill = (name) => {
    const value = rest[name];
    if (typeof value !== 'string' || !value) throw new TypeError(`${name} is required`);
    delete rest[name];
    return encodeURIComponent(value);
  };
  let path = pattern.replace('{place}', () =>
    rest.group_id ? `groups/${fill('group_id')}` : `users/${fill('user_id')}`,
  );
  path = path.replace(/\{(\w+)\}/g, (_, name) => fill(name));
  if (method !== 'GET' && method !== 'DELETE') return { method, path, body: rest };
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(rest)) {
    if (value !== undefined && value !== null) query.append(name, String(value));
  }
  const text = query.toString();
  return { method, path: text ? `${path}?${text}` : path, body: null };
}
