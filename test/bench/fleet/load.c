/*
 * A process full of light agents, or of bare TLS sockets for the floor. In C, since it shares the machine with the server that
 * is measured: each agent that Node would play costs as much as the server that it talks to.
 *
 * An agent speaks the real protocol over mutual TLS on a connection of its own, by a hand-made subset of HTTP/2 (RFC 9113) and
 * gRPC; it acknowledges at once, and applies nothing. It trusts what the server of its own benchmark says to be well formed.
 *
 *   cc -O2 -o load load.c -lssl -lcrypto
 *   load FOLDER      with ca.pem, key.pem and chains.pem in it: an agent for each two certificates of the last, its own and its authority's
 *
 * It is told what to do by lines on stdin, and answers each by one on stdout; times are milliseconds since 1970:
 *
 *   connect PORT HELLO HELLO   all connect; hexadecimal: the first message of a new agent, and the Hello of one that says where it is
 *   floor PORT SIZE ANSWER     bare sockets connect, and answer each SIZE bytes by ANSWER bytes
 *   leave                      the bare sockets end
 *   times REVISION             when each agent held it, once all do
 *   answered                   when each bare socket answered, once all did
 *   counts                     agents that are live, snapshots begun, and what ended connections
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum {
  at_once = 200,     /* handshakes under way when a fleet connects: it comes in the order in which they get done */
  remembered = 16,   /* revisions of which an agent knows when it held them */
  silence = 5000,    /* ms after which an agent says that it is there */
  beats = 50,        /* groups of agents that look at that, one after another */
  most = 20000,      /* agents */
};

typedef struct {
  uint8_t *data;
  size_t length, room;
} Bytes;

typedef struct Peer {
  int fd;
  SSL *ssl;
  bool is_bare, is_connecting, is_open, is_live;
  size_t heard;       /* of a bare socket */
  Bytes frames, messages, position;
  double said, retry; /* when it last said anything; when it is to connect again */
  unsigned next;
  uint64_t revisions[remembered];
  double times[remembered];
} Peer;

/* What a whole scope is told at once is read once: its frame, and what follows from it. */
static struct {
  Bytes frame, position, ack;
  uint64_t revision;
} last;

static SSL_CTX *context;
static EVP_PKEY *key;
static X509 *signer, *leaves[most];
static Peer *agents, *bare;
static int count, poller, port, next_to_connect, waiting_to_connect, snapshots, downs;
static Bytes first_hello, hello_without_position, answer;
static size_t message_size;
static enum { nothing, connecting, times, answered } awaited;
static uint64_t awaited_revision;
static struct { char why[80]; int count; } closed[32];
static uint8_t buffer[65536];

/* Whom orders are for: the bare sockets, while they are there. */
static Peer *everyone(void) {
  return bare ? bare : agents;
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static void fail(const char *what) {
  fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
  ERR_print_errors_fp(stderr);
  exit(1);
}

static void append(Bytes *to, const void *from, size_t length) {
  if (to->length + length > to->room) {
    to->room = (to->length + length) * 2;
    to->data = realloc(to->data, to->room);
    if (!to->data) fail("memory");
  }
  memcpy(to->data + to->length, from, length);
  to->length += length;
}

static void consume(Bytes *of, size_t length) {
  of->length -= length;
  memmove(of->data, of->data + length, of->length);
  if (of->length > 0) return;
  free(of->data);
  *of = (Bytes){0};
}

static void set(Bytes *to, const uint8_t *data, size_t length) {
  to->length = 0;
  append(to, data, length);
}

static Bytes from_hex(const char *text) {
  Bytes bytes = {0};
  for (unsigned value; sscanf(text, "%2x", &value) == 1; text += 2) append(&bytes, &(uint8_t){value}, 1);
  return bytes;
}

/* Protobuf: a varint; a field that has a length. */
static void put_varint(Bytes *to, uint64_t value) {
  for (; value > 127; value >>= 7) append(to, &(uint8_t){(value & 127) | 128}, 1);
  append(to, &(uint8_t){value}, 1);
}

static void put_field(Bytes *to, int number, const Bytes *content) {
  put_varint(to, number << 3 | 2);
  put_varint(to, content->length);
  append(to, content->data, content->length);
}

/* A field of a message: its number, or what it holds; false: it is not there. */
static bool find(const uint8_t *message, size_t length, int wanted, uint64_t *value, const uint8_t **content) {
  for (size_t at = 0; at < length;) {
    uint8_t tag = message[at++];
    uint64_t found = 0;
    for (int shift = 0;; shift += 7) {
      uint8_t byte = message[at++];
      found |= (uint64_t)(byte & 127) << shift;
      if (byte < 128) break;
    }
    if (tag >> 3 == wanted) {
      *value = found;
      *content = message + at;
      return true;
    }
    if ((tag & 7) == 2) at += found;
  }
  return false;
}

/* A message in gRPC's frame, in a DATA frame of stream 1. */
static Bytes data_frame(const uint8_t *message, size_t length) {
  Bytes frame = {0};
  size_t all = length + 5;
  append(&frame, (uint8_t[]){all >> 16, all >> 8, all, 0, 0, 0, 0, 0, 1}, 9);
  append(&frame, (uint8_t[]){0, length >> 24, length >> 16, length >> 8, length}, 5);
  append(&frame, message, length);
  return frame;
}

/* A message that has one field, which has a position in its first: an ack (2), a heartbeat (4). */
static Bytes saying(int field, const Bytes *position) {
  Bytes inner = {0}, message = {0};
  put_field(&inner, 1, position);
  put_field(&message, field, &inner);
  Bytes frame = data_frame(message.data, message.length);
  free(inner.data);
  free(message.data);
  return frame;
}

static void disconnect(Peer *peer, const char *why) {
  if (peer->is_live) downs++;
  if (peer->is_connecting) waiting_to_connect++;
  SSL_free(peer->ssl);
  close(peer->fd);
  for (Bytes *each = &peer->frames; each <= &peer->messages; each++) {
    free(each->data);
    *each = (Bytes){0};
  }
  peer->is_open = peer->is_live = peer->is_connecting = false;
  if (peer->is_bare) return;
  /* As agents do, but sooner, since all of them are waited for. */
  peer->retry = now() + 100 + drand48() * 900;
  for (size_t i = 0; i < sizeof closed / sizeof *closed; i++) {
    if (closed[i].count > 0 && strcmp(closed[i].why, why) != 0) continue;
    snprintf(closed[i].why, sizeof closed[i].why, "%s", why);
    closed[i].count++;
    return;
  }
}

static bool say(Peer *peer, const uint8_t *data, size_t length) {
  if (SSL_write(peer->ssl, data, length) <= 0) {
    disconnect(peer, "a message that did not go out");
    return false;
  }
  peer->said = now();
  return true;
}

static void greet(Peer *peer) {
  static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
  /* The largest windows, for streams and the connection: more than a run brings, so that no updates are owed. */
  static const uint8_t windows[] = {0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0x7f, 0xff, 0xff, 0xff,
                                    0, 0, 4, 8, 0, 0, 0, 0, 0, 0x7f, 0xff, 0, 0};
  /* POST, https, then literals that are not Huffman-coded (RFC 7541): path, authority, content-type, te. */
  static const char headers[] = "\x83\x87\x04\x1d/rollcall.v1.NodeService/Sync\x01\x09localhost\x0f\x10\x10" "application/grpc\x00\x02te\x08trailers";
  Bytes all = {0}, message = {0};
  append(&all, preface, sizeof preface - 1);
  append(&all, windows, sizeof windows);
  append(&all, (uint8_t[]){0, 0, sizeof headers - 1, 1, 4, 0, 0, 0, 1}, 9);
  append(&all, headers, sizeof headers - 1);
  if (peer->position.length == 0) set(&message, first_hello.data, first_hello.length);
  else {
    Bytes hello = {0};
    append(&hello, hello_without_position.data, hello_without_position.length);
    put_field(&hello, 5, &peer->position);
    put_field(&message, 1, &hello);
    free(hello.data);
  }
  Bytes frame = data_frame(message.data, message.length);
  append(&all, frame.data, frame.length);
  say(peer, all.data, all.length);
  free(all.data);
  free(message.data);
  free(frame.data);
}

static void listen_for(Peer *peer, int operation, uint32_t what) {
  struct epoll_event event = {.events = what, .data.ptr = peer};
  if (epoll_ctl(poller, operation, peer->fd, &event) < 0) fail("epoll_ctl");
}

static void open_connection(Peer *peer) {
  peer->retry = 0;
  peer->heard = 0;
  peer->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (peer->fd < 0) fail("socket");
  setsockopt(peer->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  if (connect(peer->fd, (void *)&address, sizeof address) < 0 && errno != EINPROGRESS) fail("connect");
  X509 *leaf = leaves[peer - everyone()];
  peer->ssl = SSL_new(context);
  if (!peer->ssl || SSL_use_certificate(peer->ssl, leaf) != 1 || SSL_add1_chain_cert(peer->ssl, signer) != 1) fail("SSL");
  if (SSL_use_PrivateKey(peer->ssl, key) != 1 || SSL_set1_host(peer->ssl, "localhost") != 1) fail("SSL");
  SSL_set_tlsext_host_name(peer->ssl, "localhost");
  if (!peer->is_bare) SSL_set_alpn_protos(peer->ssl, (const uint8_t *)"\x02h2", 3);
  SSL_set_fd(peer->ssl, peer->fd);
  SSL_set_connect_state(peer->ssl);
  peer->is_open = true;
  listen_for(peer, EPOLL_CTL_ADD, EPOLLOUT);
}

/* Of all that are to connect at first, so many at a time. */
static void connect_next(void) {
  for (; waiting_to_connect > 0 && next_to_connect < count; next_to_connect++) {
    Peer *peer = &everyone()[next_to_connect];
    waiting_to_connect--;
    peer->is_connecting = true;
    open_connection(peer);
  }
}

static void welcomed(Peer *peer) {
  if (!peer->is_live) downs--;
  peer->is_live = true;
  if (!peer->is_connecting) return;
  peer->is_connecting = false;
  waiting_to_connect++;
  connect_next();
}

static void hold(Peer *peer) {
  set(&peer->position, last.position.data, last.position.length);
  if (!say(peer, last.ack.data, last.ack.length)) return;
  peer->revisions[peer->next % remembered] = last.revision;
  peer->times[peer->next++ % remembered] = peer->said;
}

/* A delta (its position is its second field) or the end of a snapshot (its first). */
static void take(Peer *peer, const uint8_t *message, size_t length, int kind, int field) {
  uint64_t value;
  const uint8_t *inner, *content;
  if (!find(message, length, kind, &value, &inner) || !find(inner, value, field, &value, &content)) return;
  set(&last.position, content, value);
  if (!find(last.position.data, last.position.length, 2, &last.revision, &content)) last.revision = 0;
  free(last.frame.data);
  free(last.ack.data);
  last.frame = data_frame(message, length);
  last.ack = saying(2, &last.position);
  hold(peer);
}

static void hear_message(Peer *peer, const uint8_t *message, size_t length) {
  switch (length > 0 ? message[0] >> 3 : 0) {
    case 1: return welcomed(peer);
    case 2: return take(peer, message, length, 2, 2);
    case 3: snapshots++; return;
    case 5: return take(peer, message, length, 5, 1);
  }
}

static void hear_frame(Peer *peer, int kind, int flags, const uint8_t *payload, size_t length) {
  if (kind == 0) {
    append(&peer->messages, payload, length);
    while (peer->is_open && peer->messages.length >= 5) {
      const uint8_t *at = peer->messages.data;
      size_t size = (size_t)at[1] << 24 | at[2] << 16 | at[3] << 8 | at[4];
      if (peer->messages.length < 5 + size) return;
      hear_message(peer, at + 5, size);
      if (peer->is_open) consume(&peer->messages, 5 + size);
    }
  } else if (kind == 4 && !(flags & 1)) say(peer, (uint8_t[]){0, 0, 0, 4, 1, 0, 0, 0, 0}, 9);
  else if (kind == 6 && !(flags & 1)) {
    uint8_t pong[17] = {0, 0, 8, 6, 1};
    memcpy(pong + 9, payload, 8);
    say(peer, pong, sizeof pong);
  } else if (kind == 3) disconnect(peer, "the call was reset");
  else if (kind == 7) disconnect(peer, "the server goes away");
}

static void hear(Peer *peer, const uint8_t *bytes, size_t length) {
  if (peer->is_bare) {
    /* The server says one byte once it has read the client's certificate: then the handshake is over on both sides. */
    if (peer->heard == 0) welcomed(peer);
    peer->heard += length;
    if (peer->heard > 1 && (peer->heard - 1) % message_size == 0 && say(peer, answer.data, answer.length)) peer->times[0] = peer->said;
    return;
  }
  if (peer->frames.length + peer->messages.length == 0 && length == last.frame.length && !memcmp(bytes, last.frame.data, length)) {
    return hold(peer);
  }
  append(&peer->frames, bytes, length);
  while (peer->is_open && peer->frames.length >= 9) {
    const uint8_t *at = peer->frames.data;
    size_t size = (size_t)at[0] << 16 | at[1] << 8 | at[2];
    if (peer->frames.length < 9 + size) return;
    hear_frame(peer, at[3], at[4], at + 9, size);
    if (peer->is_open) consume(&peer->frames, 9 + size);
  }
}

static void ready(Peer *peer) {
  if (!SSL_is_init_finished(peer->ssl)) {
    errno = 0;
    if (SSL_in_before(peer->ssl)) listen_for(peer, EPOLL_CTL_MOD, EPOLLIN);
    int done = SSL_do_handshake(peer->ssl);
    int error = SSL_get_error(peer->ssl, done);
    if (done != 1 && (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)) return;
    if (done != 1) return disconnect(peer, errno ? strerror(errno) : "handshake");
    if (!peer->is_bare) greet(peer);
  }
  while (peer->is_open) {
    errno = 0;
    int length = SSL_read(peer->ssl, buffer, sizeof buffer);
    if (length > 0) {
      hear(peer, buffer, length);
      /* Usually that was all, and to ask would be a system call. If it was not, epoll says so again. */
      if (peer->is_open && !SSL_has_pending(peer->ssl)) return;
      continue;
    }
    if (SSL_get_error(peer->ssl, length) == SSL_ERROR_WANT_READ) return;
    return disconnect(peer, errno ? strerror(errno) : "ended");
  }
}

static double held_since(const Peer *peer, uint64_t revision) {
  double first = 0;
  for (int i = 0; i < remembered; i++) {
    if (peer->revisions[i] >= revision && peer->times[i] > 0 && (first == 0 || peer->times[i] < first)) first = peer->times[i];
  }
  return first;
}

/* Answers what was asked for, if it is so by now. `from`: those before it were seen to be done. */
static void report_if_due(void) {
  static int from;
  Peer *all = everyone();
  for (; awaited != nothing && from < count; from++) {
    Peer *peer = &all[from];
    if (awaited == connecting ? !peer->is_live : awaited == times ? !held_since(peer, awaited_revision) : !peer->times[0]) return;
  }
  if (awaited == nothing) return;
  from = 0;
  if (awaited == connecting) printf("connected %f\n", now());
  else {
    printf("times");
    for (int i = 0; i < count; i++) printf(" %f", awaited == times ? held_since(&all[i], awaited_revision) : all[i].times[0]);
    printf("\n");
    for (int i = 0; awaited == answered && i < count; i++) all[i].times[0] = 0;
  }
  awaited = nothing;
}

static void begin_connecting(void) {
  awaited = connecting;
  waiting_to_connect = at_once;
  next_to_connect = 0;
  downs = count;
  connect_next();
}

static void obey(char *line) {
  char *order = strtok(line, " \n");
  if (!order) return;
  if (!strcmp(order, "connect")) {
    port = atoi(strtok(NULL, " "));
    first_hello = from_hex(strtok(NULL, " "));
    hello_without_position = from_hex(strtok(NULL, " \n"));
    begin_connecting();
  } else if (!strcmp(order, "floor")) {
    port = atoi(strtok(NULL, " "));
    message_size = atoi(strtok(NULL, " "));
    answer.length = atoi(strtok(NULL, " \n"));
    answer.data = calloc(1, answer.length);
    bare = calloc(count, sizeof *bare);
    for (int i = 0; i < count; i++) bare[i].is_bare = true;
    begin_connecting();
  } else if (!strcmp(order, "leave")) {
    for (int i = 0; i < count; i++) if (bare[i].is_open) disconnect(&bare[i], "");
    bare = NULL; /* not freed: events of this turn may be theirs */
    printf("left\n");
  } else if (!strcmp(order, "times")) {
    awaited = times;
    awaited_revision = strtoull(strtok(NULL, " \n"), NULL, 10);
  } else if (!strcmp(order, "answered")) awaited = answered;
  else if (!strcmp(order, "counts")) {
    printf("counts %d %d", count - downs, snapshots);
    for (size_t i = 0; i < sizeof closed / sizeof *closed && closed[i].count > 0; i++) printf("\t%d %s", closed[i].count, closed[i].why);
    printf("\n");
  }
}

/* Who lost its connection comes back in its time; who said nothing for long says that it is there. */
static void tick(double at) {
  static unsigned beat;
  for (int i = 0; downs > 0 && i < count; i++) {
    if (!agents[i].is_open && agents[i].retry > 0 && agents[i].retry <= at) open_connection(&agents[i]);
  }
  for (int i = beat++ % beats; i < count; i += beats) {
    Peer *peer = &agents[i];
    if (!peer->is_live || peer->position.length == 0 || at - peer->said < silence) continue;
    Bytes frame = saying(4, &peer->position);
    say(peer, frame.data, frame.length);
    free(frame.data);
  }
}

static FILE *in_folder(const char *folder, const char *name) {
  char path[4096];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE *file = fopen(path, "r");
  if (!file) fail(path);
  return file;
}

int main(int argc, char **argv) {
  const char *folder = argc > 1 ? argv[1] : ".";
  char path[4096];
  signal(SIGPIPE, SIG_IGN);
  setvbuf(stdout, NULL, _IOLBF, 1 << 20);
  snprintf(path, sizeof path, "%s/ca.pem", folder);
  context = SSL_CTX_new(TLS_client_method());
  if (!context || SSL_CTX_load_verify_locations(context, path, NULL) != 1) fail(path);
  SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  /* One system call for a record, not one for its header and one for the rest. */
  SSL_CTX_set_read_ahead(context, 1);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
  key = PEM_read_PrivateKey(in_folder(folder, "key.pem"), NULL, NULL, NULL);
  FILE *chains = in_folder(folder, "chains.pem");
  /* The authority is the same for all. */
  while (count < most && (leaves[count] = PEM_read_X509(chains, NULL, NULL, NULL)) && PEM_read_X509(chains, &signer, NULL, NULL)) count++;
  if (!key || count == 0) fail("key.pem, chains.pem");
  ERR_clear_error();
  agents = calloc(count, sizeof *agents);
  poller = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event orders = {.events = EPOLLIN, .data.ptr = NULL};
  if (epoll_ctl(poller, EPOLL_CTL_ADD, 0, &orders) < 0) fail("stdin");
  fcntl(0, F_SETFL, fcntl(0, F_GETFL) | O_NONBLOCK);
  printf("ready\n");
  Bytes lines = {0};
  const double every = silence / beats;
  for (double due = now() + every;;) {
    struct epoll_event events[1024];
    double left = due - now();
    int found = epoll_wait(poller, events, 1024, left > 0 ? (int)left + 1 : 0);
    for (int i = 0; i < found; i++) {
      Peer *peer = events[i].data.ptr;
      if (peer) {
        if (peer->is_open) ready(peer);
        continue;
      }
      int length = read(0, buffer, sizeof buffer - 1);
      if (length == 0) return 0;
      if (length > 0) append(&lines, buffer, length);
      for (char *end; lines.length > 0 && (end = memchr(lines.data, '\n', lines.length));) {
        size_t size = (uint8_t *)end - lines.data + 1;
        *end = 0;
        obey((char *)lines.data);
        consume(&lines, size);
      }
    }
    if (now() >= due) {
      tick(now());
      due += every;
    }
    report_if_due();
  }
}
