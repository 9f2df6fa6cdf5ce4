"""Moving bytes and datagrams between a client and its upstream, with an idle timeout, and counting them."""
