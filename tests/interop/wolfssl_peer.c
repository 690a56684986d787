/* A DTLS 1.2 client or echo server on wolfSSL, for the loopback device.
 *
 *   wolfssl_peer client PORT FOLDER    what is typed goes to the server, what it sends is printed
 *   wolfssl_peer server PORT FOLDER    what comes is printed and sent back, to any number of clients at once
 *
 * FOLDER holds host.pem, host.key and ca-interop.pem; the other side must be ours.test of that CA.
 */

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>

#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct sockaddr_in loopback(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static void check(int good, const char *what)
{
    if (good)
        return;
    printf("failed: %s\n", what);
    fflush(stdout);
    exit(1);
}

static int open_port(int port)
{
    struct sockaddr_in here = loopback(port);
    int on = 1, socket_ = socket(AF_INET, SOCK_DGRAM, 0);
    setsockopt(socket_, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    check(bind(socket_, (struct sockaddr *)&here, sizeof here) == 0, "bind");
    return socket_;
}

static WOLFSSL_CTX *context(int is_server, const char *folder)
{
    WOLFSSL_CTX *ctx = wolfSSL_CTX_new(is_server ? wolfDTLSv1_2_server_method() : wolfDTLSv1_2_client_method());
    check(chdir(folder) == 0, "folder");
    check(wolfSSL_CTX_load_verify_locations(ctx, "ca-interop.pem", NULL) == WOLFSSL_SUCCESS, "ca-interop.pem");
    check(wolfSSL_CTX_use_certificate_file(ctx, "host.pem", WOLFSSL_FILETYPE_PEM) == WOLFSSL_SUCCESS, "host.pem");
    check(wolfSSL_CTX_use_PrivateKey_file(ctx, "host.key", WOLFSSL_FILETYPE_PEM) == WOLFSSL_SUCCESS, "host.key");
    check(wolfSSL_CTX_set_cipher_list(ctx, "ECDHE-ECDSA-AES256-GCM-SHA384") == WOLFSSL_SUCCESS, "suite");
    wolfSSL_CTX_set_verify(ctx, WOLFSSL_VERIFY_PEER | WOLFSSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    return ctx;
}

static void talk(WOLFSSL_CTX *ctx, int fd, struct sockaddr_in peer, int is_server)
{
    char data[4096];
    int length;
    WOLFSSL *ssl = wolfSSL_new(ctx);
    check(connect(fd, (struct sockaddr *)&peer, sizeof peer) == 0, "connect");
    wolfSSL_dtls_set_peer(ssl, &peer, sizeof peer);
    wolfSSL_set_fd(ssl, fd);
    wolfSSL_check_domain_name(ssl, "ours.test");
    if ((is_server ? wolfSSL_accept(ssl) : wolfSSL_connect(ssl)) != WOLFSSL_SUCCESS) {
        printf("failed: handshake: %s\n", wolfSSL_ERR_error_string(wolfSSL_get_error(ssl, 0), data));
        exit(1);
    }
    for (;;) {
        struct pollfd ready[2] = {{fd, POLLIN, 0}, {is_server ? -1 : 0, POLLIN, 0}};
        poll(ready, 2, -1);
        if (ready[1].revents) {
            if ((length = read(0, data, sizeof data)) <= 0)
                break;
            wolfSSL_write(ssl, data, length);
        }
        if (ready[0].revents) {
            length = wolfSSL_read(ssl, data, sizeof data);
            if (length <= 0 && wolfSSL_get_error(ssl, length) == WOLFSSL_ERROR_ZERO_RETURN)
                break;
            if (length <= 0)
                continue;
            fwrite(data, 1, length, stdout);
            fflush(stdout);
            if (is_server)
                wolfSSL_write(ssl, data, length);
        }
    }
    wolfSSL_shutdown(ssl);
    printf("closed\n");
    exit(0);
}

int main(int count, char **arguments)
{
    check(count == 4, "usage");
    int is_server = !strcmp(arguments[1], "server"), port = atoi(arguments[2]), fd;
    wolfSSL_Init();
    WOLFSSL_CTX *ctx = context(is_server, arguments[3]);
    if (!is_server)
        talk(ctx, open_port(0), loopback(port), 0);
    for (fd = open_port(port);;) {
        struct sockaddr_in peer;
        socklen_t size = sizeof peer;
        char byte;
        recvfrom(fd, &byte, 1, MSG_PEEK, (struct sockaddr *)&peer, &size);
        /* Connected, this socket takes that client's datagrams only; a new one waits for the next client. */
        if (fork() == 0)
            talk(ctx, fd, peer, 1);
        connect(fd, (struct sockaddr *)&peer, sizeof peer);
        close(fd);
        fd = open_port(port);
    }
}
