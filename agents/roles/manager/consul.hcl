# Consul of the lab: one server, which is enough to show what happens when the catalogue is away.
node_name = "manager"

# Nobody but itself talks raft and gossip to it. On the loopback address these do not mind when the container comes back with another one.
bind_addr      = "127.0.0.1"
advertise_addr = "127.0.0.1"

ports {
  grpc     = -1
  grpc_tls = -1
  dns      = -1
  serf_wan = -1
}

# The shortest election time: there is no other server to wait for.
performance {
  raft_multiplier = 1
}

# A lab may lie in a drawer for longer than the week after which a server would refuse to start again.
server_rejoin_age_max = "87600h"

acl {
  enabled        = true
  default_policy = "deny"
  tokens {
    # From this file and not from the data, so that it outlives a wipe; the nodes' token is made with it.
    initial_management = "{{secret "consul-management-token"}}"
    agent              = "{{secret "consul-management-token"}}"
  }
}

connect {
  enabled = false
}

disable_update_check = true
leave_on_terminate   = false
log_level            = "warn"
