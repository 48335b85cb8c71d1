/**
 * What the server says, as types. Fields that say nothing are absent.
 * @module
 */

/**
 * @typedef {object} FileInfo
 * @property {string} id
 * @property {string} name
 * @property {number} size
 * @property {string} type
 * @property {number} [width]
 * @property {number} [height]
 * @property {number} [duration_ms]
 * @property {boolean | string} [thumbnail]
 */

/**
 * @typedef {object} Reaction
 * @property {string} emoji
 * @property {number} count
 * @property {boolean} [mine]
 * @property {string[]} [users] the first twenty
 */

/**
 * @typedef {object} Message
 * @property {string} id
 * @property {string} sender_id
 * @property {string} [receiver_id] in a direct message
 * @property {string} [group_id] in a group message
 * @property {'text' | 'image' | 'file' | 'voice' | 'video' | 'system'} type
 * @property {string} content
 * @property {'sent' | 'delivered' | 'read' | 'failed'} status
 * @property {number} timestamp milliseconds since 1970
 * @property {{kind: string, user_id: string, by: string, role?: string}} [event] of a system message
 * @property {string} [client_msg_id] to its sender only
 * @property {string} [changed_id] the place of its newest change
 * @property {string} [reply_to]
 * @property {string} [thread_id]
 * @property {number} [replies]
 * @property {string[]} [mentions]
 * @property {boolean} [mention_all]
 * @property {FileInfo[]} [attachments]
 * @property {{sender_id: string, timestamp: number}} [forwarded]
 * @property {number} [edited_at]
 * @property {number} [edits]
 * @property {boolean} [recalled]
 * @property {string} [recalled_by]
 * @property {Reaction[]} [reactions]
 * @property {boolean} [pinned]
 */

/** @typedef {{kind: string, by: string, timestamp: number}} Change */

/**
 * @typedef {object} SyncPage
 * @property {Message[]} messages
 * @property {Message[]} [changed]
 * @property {string} [cursor]
 * @property {boolean} [has_more]
 * @property {string} [newest_message_id]
 * @property {boolean} [gap]
 * @property {string} [oldest_message_id]
 * @property {string[]} [failed]
 */

/**
 * @typedef {object} SendRequest
 * @property {string} [receiver_id]
 * @property {string} [group_id]
 * @property {'text' | 'image' | 'file' | 'voice' | 'video'} [type]
 * @property {string} content
 * @property {string} [reply_to]
 * @property {string[]} [mentions]
 * @property {boolean} [mention_all]
 * @property {string[]} [attachments] ids of files
 * @property {string} [forward_of] a message id
 */

/**
 * @typedef {object} Conversation
 * @property {string} [user_id]
 * @property {string} [group_id]
 * @property {string} [name]
 * @property {string} [avatar]
 * @property {Message} [last_message]
 * @property {number} [unread]
 * @property {number} [mentions]
 * @property {string} [read_id]
 * @property {string} [delivered_id]
 * @property {string} [peer_read_id]
 * @property {string} [peer_delivered_id]
 * @property {number} [members]
 * @property {string} [role]
 * @property {number} [muted_until]
 * @property {boolean} [pinned]
 * @property {boolean} [hidden]
 * @property {boolean} [marked_unread]
 * @property {string} [draft]
 * @property {number} [updated_at]
 */

/**
 * @typedef {object} Group
 * @property {string} id
 * @property {string} name
 * @property {string} description
 * @property {string} owner_id
 * @property {string[]} members
 * @property {string} created_at
 * @property {string} updated_at
 * @property {boolean} [private]
 * @property {number} [retention_days]
 */

/** @typedef {{id: string, group_id: string, user_id: string, role: 'owner' | 'admin' | 'member', joined_at: string}} Member */

/** @typedef {{group_id: string, name: string, invited_by: string, invited_at: string}} Invitation */

/** @typedef {{user_id: string, display_name?: string, avatar?: string, about?: string, bot?: boolean}} Profile */

export {};
