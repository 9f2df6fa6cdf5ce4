/* A bare relay for benchmarks/compare.py: what the kernel can move between sockets, without SOCKS and without Python.
 *
 *     splice_loop LISTEN_HOST LISTEN_PORT TO_HOST TO_PORT
 *
 * Every connection is forwarded to one fixed destination. One thread, poll, and a pipe of 1 MiB for each direction.
 * It has no error handling: the first error ends the program.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PIPE_SIZE = 1 << 20, MOST = 1024 };

/* The bytes under way from one socket to another. Its number is that of its pollfd. */
struct direction {
    int from, to, reader, writer;
    size_t held;
    int ended;
};

static struct direction directions[2 * MOST];
static struct pollfd waiting[2 * MOST + 1];
static int count; /* of both; the two directions of a connection are neighbours */

static int must(int result, const char *what) {
    if (result < 0) {
        perror(what);
        exit(1);
    }
    return result;
}

static struct sockaddr_in address(char **host_and_port) {
    struct sockaddr_in made = {.sin_family = AF_INET, .sin_port = htons(atoi(host_and_port[1]))};
    must(inet_pton(AF_INET, host_and_port[0], &made.sin_addr) - 1, "address");
    return made;
}

static void wait_for(int number) {
    struct direction *way = &directions[number];
    waiting[number].fd = way->ended ? -1 : way->held ? way->to : way->from;
    waiting[number].events = way->held ? POLLOUT : POLLIN;
}

static void add(int from, int to) {
    struct direction *way = &directions[count];
    int ends[2];
    must(pipe2(ends, O_NONBLOCK), "pipe");
    must(fcntl(ends[1], F_SETPIPE_SZ, PIPE_SIZE), "size of a pipe");
    *way = (struct direction){.from = from, .to = to, .reader = ends[0], .writer = ends[1]};
    wait_for(count++);
}

/* Read once if the pipe is empty, and write once what is in it. */
static void move(struct direction *way) {
    ssize_t moved;
    if (!way->held) {
        moved = splice(way->from, NULL, way->writer, NULL, PIPE_SIZE, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
        if (moved <= 0) {
            way->ended = moved == 0 || errno != EAGAIN;
            if (way->ended)
                shutdown(way->to, SHUT_WR);
            return;
        }
        way->held = moved;
    }
    moved = splice(way->reader, NULL, way->to, NULL, way->held, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (moved > 0)
        way->held -= moved;
    else if (errno != EAGAIN) {
        way->ended = 1;
        shutdown(way->from, SHUT_RD);
    }
}

/* Close a connection of which both directions have ended; the last one takes its place. */
static void drop(int first) {
    close(directions[first].from);
    close(directions[first].to);
    for (int number = first; number < first + 2; number++) {
        close(directions[number].reader);
        close(directions[number].writer);
        directions[number] = directions[count - 2 + number - first];
    }
    count -= 2;
    wait_for(first);
    wait_for(first + 1);
}

int main(int arguments, char **words) {
    if (arguments != 5)
        return 2;
    struct sockaddr_in here = address(words + 1), there = address(words + 3);
    int listener = must(socket(AF_INET, SOCK_STREAM, 0), "socket"), yes = 1;
    signal(SIGPIPE, SIG_IGN);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    must(bind(listener, (struct sockaddr *)&here, sizeof here), "bind");
    must(listen(listener, 128), "listen");
    for (;;) {
        waiting[count] = (struct pollfd){.fd = listener, .events = count < 2 * MOST ? POLLIN : 0};
        must(poll(waiting, count + 1, -1), "poll");
        int known = count, incoming = waiting[count].revents;
        for (int number = known - 1; number >= 0; number--) {
            if (waiting[number].revents) {
                move(&directions[number]);
                wait_for(number);
            }
        }
        for (int first = known - 2; first >= 0; first -= 2)
            if (directions[first].ended && directions[first + 1].ended)
                drop(first);
        if (incoming) {
            int client = must(accept4(listener, NULL, NULL, SOCK_NONBLOCK), "accept");
            int upstream = must(socket(AF_INET, SOCK_STREAM, 0), "socket");
            must(connect(upstream, (struct sockaddr *)&there, sizeof there), "connect");
            must(fcntl(upstream, F_SETFL, O_NONBLOCK), "non-blocking");
            add(client, upstream);
            add(upstream, client);
        }
    }
}
