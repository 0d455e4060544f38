"""Pictures in and out, MATLAB's imresize, and metrics."""
