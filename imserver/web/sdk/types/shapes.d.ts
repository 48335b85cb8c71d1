export type FileInfo = {
    id: string;
    name: string;
    size: number;
    type: string;
    width?: number | undefined;
    height?: number | undefined;
    duration_ms?: number | undefined;
    thumbnail?: string | boolean | undefined;
};
export type Reaction = {
    emoji: string;
    count: number;
    mine?: boolean | undefined;
    /**
     * the first twenty
     */
    users?: string[] | undefined;
};
export type Message = {
    id: string;
    sender_id: string;
    /**
     * in a direct message
     */
    receiver_id?: string | undefined;
    /**
     * in a group message
     */
    group_id?: string | undefined;
    type: "text" | "image" | "file" | "voice" | "video" | "system";
    content: string;
    status: "sent" | "delivered" | "read" | "failed";
    /**
     * milliseconds since 1970
     */
    timestamp: number;
    /**
     * of a system message
     */
    event?: {
        kind: string;
        user_id: string;
        by: string;
        role?: string;
    } | undefined;
    /**
     * to its sender only
     */
    client_msg_id?: string | undefined;
    /**
     * the place of its newest change
     */
    changed_id?: string | undefined;
    reply_to?: string | undefined;
    thread_id?: string | undefined;
    replies?: number | undefined;
    mentions?: string[] | undefined;
    mention_all?: boolean | undefined;
    attachments?: FileInfo[] | undefined;
    forwarded?: {
        sender_id: string;
        timestamp: number;
    } | undefined;
    edited_at?: number | undefined;
    edits?: number | undefined;
    recalled?: boolean | undefined;
    recalled_by?: string | undefined;
    reactions?: Reaction[] | undefined;
    pinned?: boolean | undefined;
};
export type Change = {
    kind: string;
    by: string;
    timestamp: number;
};
export type SyncPage = {
    messages: Message[];
    changed?: Message[] | undefined;
    cursor?: string | undefined;
    has_more?: boolean | undefined;
    newest_message_id?: string | undefined;
    gap?: boolean | undefined;
    oldest_message_id?: string | undefined;
    failed?: string[] | undefined;
};
export type SendRequest = {
    receiver_id?: string | undefined;
    group_id?: string | undefined;
    type?: "file" | "video" | "image" | "text" | "voice" | undefined;
    content: string;
    reply_to?: string | undefined;
    mentions?: string[] | undefined;
    mention_all?: boolean | undefined;
    /**
     * ids of files
     */
    attachments?: string[] | undefined;
    /**
     * a message id
     */
    forward_of?: string | undefined;
};
export type Conversation = {
    user_id?: string | undefined;
    group_id?: string | undefined;
    name?: string | undefined;
    avatar?: string | undefined;
    last_message?: Message | undefined;
    unread?: number | undefined;
    mentions?: number | undefined;
    read_id?: string | undefined;
    delivered_id?: string | undefined;
    peer_read_id?: string | undefined;
    peer_delivered_id?: string | undefined;
    members?: number | undefined;
    role?: string | undefined;
    muted_until?: number | undefined;
    pinned?: boolean | undefined;
    hidden?: boolean | undefined;
    marked_unread?: boolean | undefined;
    draft?: string | undefined;
    updated_at?: number | undefined;
};
export type Group = {
    id: string;
    name: string;
    description: string;
    owner_id: string;
    members: string[];
    created_at: string;
    updated_at: string;
    private?: boolean | undefined;
    retention_days?: number | undefined;
};
export type Member = {
    id: string;
    group_id: string;
    user_id: string;
    role: "owner" | "admin" | "member";
    joined_at: string;
};
export type Invitation = {
    group_id: string;
    name: string;
    invited_by: string;
    invited_at: string;
};
export type Profile = {
    user_id: string;
    display_name?: string;
    avatar?: string;
    about?: string;
    bot?: boolean;
};
