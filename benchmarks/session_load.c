/* A load of short sessions for benchmarks/compare.py, and their far end, in one thread.
 *
 *     session_load PROXY_HOST PROXY_PORT FAR_HOST CLIENTS WARM_UP SECONDS
 *
 * Each client connects to the proxy, has one byte echoed by the far end, which listens on FAR_HOST, and closes; again
 * and again. The line "began" comes after WARM_UP seconds. SECONDS later comes a line with the number of sessions in
 * between, and with the CPU seconds and the seconds that passed meanwhile. The first error ends the program.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 1024, BATCH = 64, STEPS = 3 };

/* What a client says, and how long each answer is; the request gets the address of the far end. */
static unsigned char greeting[] = {5, 1, 0}, request[] = {5, 1, 0, 1, 0, 0, 0, 0, 0, 0}, word[] = {'x'};
static const struct {
    unsigned char *says;
    size_t size, answer;
} steps[STEPS] = {{greeting, sizeof greeting, 2}, {request, sizeof request, 10}, {word, sizeof word, 1}};

/* A client of the proxy, by its descriptor. A descriptor that is none is a connection of the far end. */
static struct {
    int is_client, step;
    size_t heard;
} ends[65536];

static struct sockaddr_in proxy, far;
static int epoll;
static long sessions;

static int must(int result, const char *what) {
    if (result < 0) {
        perror(what);
        exit(1);
    }
    return result;
}

static struct sockaddr_in address(const char *host, int port) {
    struct sockaddr_in made = {.sin_family = AF_INET, .sin_port = htons(port)};
    must(inet_pton(AF_INET, host, &made.sin_addr) - 1, "address");
    return made;
}

static double now(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static void watch(int fd, unsigned events) {
    struct epoll_event event = {.events = events, .data.fd = fd};
    must(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
}

/* Begin a session. Each host gives 28,000 ports, and a port waits a second or more for its next connection. */
static void begin(void) {
    static int number;
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f010001 + (number++ % 250 << 8))};
    int fd = must(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), "socket"), yes = 1;
    setsockopt(fd, IPPROTO_IP, 24 /* IP_BIND_ADDRESS_NO_PORT */, &yes, sizeof yes);
    must(bind(fd, (struct sockaddr *)&here, sizeof here), "bind");
    if (connect(fd, (struct sockaddr *)&proxy, sizeof proxy) < 0 && errno != EINPROGRESS)
        must(-1, "connect");
    ends[fd].is_client = 1;
    ends[fd].step = -1;
    watch(fd, EPOLLIN | EPOLLOUT | EPOLLET);
}

static void say(int fd) {
    int step = ++ends[fd].step;
    ends[fd].heard = 0;
    must(send(fd, steps[step].says, steps[step].size, MSG_NOSIGNAL), "send");
}

/* Go on with a session: the proxy has connected or answered. */
static void go_on(int fd, unsigned events) {
    unsigned char answer[64];
    if (ends[fd].step < 0) {
        if (!(events & EPOLLOUT))
            return;
        say(fd);
    }
    for (;;) {
        int step = ends[fd].step;
        ssize_t size = recv(fd, answer, steps[step].answer - ends[fd].heard, 0);
        if (size < 0 && errno == EAGAIN)
            return;
        if (must(size, "recv") == 0) {
            fprintf(stderr, "the proxy closed a session after step %d\n", step);
            exit(1);
        }
        if (step < 2 && ends[fd].heard < 2 && ends[fd].heard + size >= 2 && answer[1 - ends[fd].heard] != 0) {
            fprintf(stderr, "the proxy refused step %d with %d\n", step, answer[1 - ends[fd].heard]);
            exit(1);
        }
        ends[fd].heard += size;
        if (ends[fd].heard < steps[step].answer)
            continue;
        if (step == STEPS - 1) {
            close(fd);
            sessions++;
            begin();
            return;
        }
        say(fd);
    }
}

/* Echo what has come, or close with the other side. */
static void echo(int fd) {
    unsigned char data[64];
    ssize_t size = recv(fd, data, sizeof data, 0);
    if (size > 0)
        must(send(fd, data, size, MSG_NOSIGNAL), "echo");
    else if (size == 0 || errno != EAGAIN)
        close(fd);
}

static void run(int listener, double until) {
    struct epoll_event events[BATCH];
    double left;
    while ((left = until - now(CLOCK_MONOTONIC)) > 0) {
        int count = must(epoll_wait(epoll, events, BATCH, left * 1e3 + 1), "epoll_wait");
        for (int number = 0; number < count; number++) {
            int fd = events[number].data.fd, accepted;
            if (fd == listener) {
                while ((accepted = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                    ends[accepted].is_client = 0;
                    watch(accepted, EPOLLIN);
                }
            } else if (ends[fd].is_client)
                go_on(fd, events[number].events);
            else
                echo(fd);
        }
    }
}

int main(int arguments, char **words) {
    if (arguments != 7)
        return 2;
    int listener = must(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), "socket"), clients = atoi(words[4]);
    socklen_t size = sizeof far;
    proxy = address(words[1], atoi(words[2]));
    far = address(words[3], 0);
    must(bind(listener, (struct sockaddr *)&far, sizeof far), "bind");
    must(listen(listener, MOST), "listen");
    must(getsockname(listener, (struct sockaddr *)&far, &size), "getsockname");
    memcpy(request + 4, &far.sin_addr, 4);
    memcpy(request + 8, &far.sin_port, 2);
    epoll = must(epoll_create1(0), "epoll_create1");
    watch(listener, EPOLLIN);
    while (clients-- > 0)
        begin();
    run(listener, now(CLOCK_MONOTONIC) + atof(words[5]));
    double began = now(CLOCK_MONOTONIC), cpu = now(CLOCK_PROCESS_CPUTIME_ID);
    long before = sessions;
    puts("began");
    fflush(stdout);
    run(listener, began + atof(words[6]));
    printf("%ld %.6f %.6f\n", sessions - before, now(CLOCK_PROCESS_CPUTIME_ID) - cpu, now(CLOCK_MONOTONIC) - began);
    return 0;
}
