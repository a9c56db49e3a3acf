package node

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/tidwall/redcon"

	"evenkeel/pkg/engine/reply"
	"evenkeel/pkg/replication"
	"evenkeel/pkg/settings"
)

// followerHello is what a Tile38 follower says of itself with REPLCONF.
type followerHello struct {
	port int
	ip   string
}

// replconf is REPLCONF listening-port N and ip-address A.
func (c *call) replconf() error {
	if len(c.args) != 3 {
		return reply.ErrNumArgs
	}
	switch strings.ToLower(c.args[1]) {
	case "listening-port":
		n, err := strconv.ParseUint(c.args[2], 10, 16)
		if err != nil {
			return reply.InvalidArgument(c.args[2])
		}
		c.node.mu.Lock()
		c.follower.port = int(n)
		c.node.mu.Unlock()
	case "ip-address":
		c.node.mu.Lock()
		defer c.node.mu.Unlock()
		if c.follower.port == 0 {
			return reply.Plain("cannot find follower")
		}
		c.follower.ip = strings.Clone(c.args[2])
	default:
		return reply.Plain("cannot find follower")
	}
	c.out.OK()
	return nil
}

// announced says whether the connection is that of a follower of Tile38's kind.
func (s *session) announced() bool {
	s.node.mu.Lock()
	defer s.node.mu.Unlock()
	return s.follower.port != 0
}

// peer is a follower as ROLE and INFO show it.
type peer struct {
	ip     string
	port   int
	offset int64
}

// peers lists the followers: those of Evenkeel's own protocol, and connections
// that announced themselves with REPLCONF.
func (n *Node) peers() []peer {
	var all []peer
	for _, f := range n.opt.Leader.Followers() {
		ip := f.IPAddress
		if ip == "" {
			ip, _, _ = net.SplitHostPort(f.Addr)
		}
		all = append(all, peer{ip: ip, port: f.ListeningPort, offset: f.Acked})
	}
	for _, s := range n.list() {
		n.mu.Lock()
		hello := s.follower
		n.mu.Unlock()
		if hello.port == 0 {
			continue
		}
		if hello.ip == "" {
			hello.ip, _, _ = net.SplitHostPort(s.addr())
		}
		all = append(all, peer{ip: hello.ip, port: hello.port})
	}
	return all
}

// role is ROLE.
func (c *call) role() error {
	st := c.node.role.status()
	offset := c.node.opt.Log.Position().Offset
	if st != nil {
		c.roleFollower(st, offset)
		return nil
	}
	peers := c.node.peers()
	if c.out.JSON {
		c.out.OK()
		c.out.Member("role")
		c.out.Buf = fmt.Appendf(c.out.Buf, `{"role":"master","offset":%d,"slaves":[`, offset)
		for i, p := range peers {
			if i > 0 {
				c.out.Buf = append(c.out.Buf, ',')
			}
			c.out.Buf = append(c.out.Buf, `{"ip":`...)
			c.out.String(p.ip) // as the follower gave it: any bytes
			c.out.Buf = fmt.Appendf(c.out.Buf, `,"port":"%d","offset":"%d"}`, p.port, p.offset)
		}
		c.out.Buf = append(c.out.Buf, "]}"...)
		return nil
	}
	c.out.Array(3)
	c.out.Bulk("master")
	c.out.Buf = redcon.AppendInt(c.out.Buf, offset)
	c.out.Array(len(peers))
	for _, p := range peers {
		c.out.Array(3)
		c.out.Bulk(p.ip)
		c.out.Bulk(strconv.Itoa(p.port))
		c.out.Bulk(strconv.FormatInt(p.offset, 10))
	}
	return nil
}

// linkStates are the words of ROLE for what a follower is doing.
var linkStates = map[replication.State]string{
	replication.Connecting:  "connect",
	replication.FullResync:  "sync",
	replication.RangeResync: "sync",
	replication.CatchingUp:  "sync",
	replication.Streaming:   "connected",
}

func (c *call) roleFollower(st *replication.Status, offset int64) {
	host, port, _ := net.SplitHostPort(st.Leader)
	p, _ := strconv.Atoi(port)
	state := linkStates[st.State]
	if c.out.JSON {
		c.out.OK()
		c.out.Member("role")
		c.out.Buf = append(c.out.Buf, `{"role":"slave","host":`...)
		c.out.String(host)
		c.out.Buf = fmt.Appendf(c.out.Buf, `,"port":%d,"state":%q,"offset":%d}`, p, state, offset)
		return
	}
	c.out.Array(5)
	c.out.Bulk("slave")
	c.out.Bulk(host)
	c.out.Buf = redcon.AppendInt(c.out.Buf, int64(p))
	c.out.Bulk(state)
	c.out.Buf = redcon.AppendInt(c.out.Buf, offset)
}

// infoReplication is the section of INFO.
func (n *Node) infoReplication(add func(string, any)) {
	st := n.role.status()
	if st == nil {
		add("role", "master")
	} else {
		host, port, _ := net.SplitHostPort(st.Leader)
		p, _ := strconv.Atoi(port)
		add("role", "slave")
		add("master_host", host)
		add("master_port", p)
		add("slave_repl_offset", n.opt.Log.Position().Offset)
		if prio := n.opt.Settings.Get(settings.ReplicaPriority); prio != "" {
			v, _ := strconv.Atoi(prio)
			add("slave_priority", v)
		}
	}
	for i, p := range n.peers() {
		add(fmt.Sprintf("slave%d", i), fmt.Sprintf("ip=%s,port=%d,state=online", p.ip, p.port))
	}
	add("connected_slaves", len(n.opt.Leader.Followers()))
}
