-- Prosody 0.12 as a chat server with an archive, and with nothing that slows it down or that one
-- machine does not need: no TLS, passwords in the clear, no limits, no server-to-server, no log.
daemonize = false
run_as_root = true -- refuses otherwise where the measurement runs as root
pidfile = "$folder/prosody.pid"
data_path = "$folder"
certificates = "$folder"
log = { error = "*console" }

interfaces = { "127.0.0.1" }
c2s_ports = { $port }
network_settings = { tcp_backlog = 1024 }
modules_enabled = { "roster", "saslauth", "disco", "register", "mam" }
modules_disabled = { "s2s", "tls", "offline" }

authentication = "internal_plain"
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
allow_registration = true

-- Every message is archived for both users, as every chat service does.
default_archive_policy = true
archive_store = "archive"
storage_archive_item_limit = 1000000 -- a user; nothing is trimmed within a run
storage = "$storage" -- "internal" (a file a user) or "sql"
sql = { driver = "SQLite3", database = "$folder/prosody.sqlite" } -- read by "sql" alone

VirtualHost "localhost"
