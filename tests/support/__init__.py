"""What tests share: people, clocks, throwaway servers, a browser, a network that fails."""
