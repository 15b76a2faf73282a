# A server that is a cluster of its own, reached from this machine only. Every key:
# /usr/share/doc/muster/configuration.md. After a change: muster validate /etc/muster, then
# systemctl restart muster (what can change while it runs: systemctl reload muster).

data_dir = "/var/lib/muster"
server = true
bootstrap_expect = 1

# One of three servers: bootstrap_expect = 3, and where the others are.
# bind_addr = "10.0.0.1"
# retry_join = ["10.0.0.2", "10.0.0.3"]

# Who may reach HTTP and DNS.
# client_addr = "127.0.0.1 10.0.0.1"
